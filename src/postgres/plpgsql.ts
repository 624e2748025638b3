import { dollarQuoted } from "./sql.js";

/** Makes a function of the schema: its name and parameters, what it returns, its variables, and what it does. */
export type Define = (head: string, returns: string, declare: string, body: string) => string;

/**
 * Every function looks its rows up by index, one after the other. The planner may think otherwise while the statistics are
 * older than the tables are large, and a session keeps its plans: hash and merge joins read all channels for each publish.
 * JIT would cost 200 ms on a check of 10,000 channels.
 */
const plans = ["enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"]
  .map((name) => `SET ${name} = off`)
  .join(" ");

export function definer(s: string): Define {
  return (head, returns, declare, body) =>
    `CREATE OR REPLACE FUNCTION ${s}.${head} RETURNS ${returns}
LANGUAGE plpgsql ${plans} AS ${dollarQuoted(`
#variable_conflict use_column
DECLARE
  ${declare}
BEGIN
${body}
END
`)};
`;
}

/** Ages come in milliseconds. */
export const ago = (age: string): string => `clock_timestamp() - ${age} * interval '1 millisecond'`;

export const milliseconds = (time: string): string => `floor(extract(epoch FROM ${time}) * 1000)::text`;
