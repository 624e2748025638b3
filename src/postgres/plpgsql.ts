import { dollarQuoted } from "./sql.js";

/** Makes a function of the schema from its name and parameters, its return type, its variables, and its statements. */
export type Define = (head: string, returns: string, declare: string, body: string) => string;

/**
 * Settings that make every function look its rows up by index, one after the other. A session keeps the plans that it
 * made while the tables were small, and a plan with a hash or merge join would read all channels for each publish.
 * JIT costs 200 ms on a check of 10,000 channels.
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

/** @param age in milliseconds */
export const ago = (age: string): string => `clock_timestamp() - ${age} * interval '1 millisecond'`;

export const milliseconds = (time: string): string => `floor(extract(epoch FROM ${time}) * 1000)::text`;
