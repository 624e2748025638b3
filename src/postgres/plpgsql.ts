import { dollarQuoted } from "./sql.js";

/** Makes a function of the schema: its name and parameters, what it returns, its variables, and what it does. */
export type Define = (head: string, returns: string, declare: string, body: string) => string;

/**
 * Each function plans without a sequential scan: plans live as long as a session, and may be older than the tables are large.
 * JIT would cost 200 ms on a check of 10,000 channels.
 */
export function definer(s: string): Define {
  return (head, returns, declare, body) =>
    `CREATE OR REPLACE FUNCTION ${s}.${head} RETURNS ${returns}
LANGUAGE plpgsql SET enable_seqscan = off SET jit = off AS ${dollarQuoted(`
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
