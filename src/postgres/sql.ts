/*
 * Values are written into the SQL text, because only a text without parameters can hold several statements. These are
 * one transaction and one round trip, on a `pg` client, on PGlite and through PgBouncer alike. Also, the application's
 * conversion of parameters does not matter.
 */

export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A string literal that means the same whether `standard_conforming_strings` is on or off. */
export function literal(text: string): string {
  const quoted = text.replaceAll("'", "''");
  return quoted.includes("\\") ? ` E'${quoted.replaceAll("\\", "\\\\")}'` : `'${quoted}'`;
}

/** A `text[]`, in which `null` is NULL. */
export function textArray(values: readonly (string | null)[]): string {
  const elements = values.map((value) => (value === null ? "NULL" : `"${value.replace(/["\\]/g, "\\$&")}"`));
  return `${literal(`{${elements.join(",")}}`)}::text[]`;
}

/** A function's body in quotes that it does not contain. */
export function dollarQuoted(body: string): string {
  let tag = "$sql$";
  while (body.includes(tag)) tag = tag.replace("$sql", "$sql_");
  return `${tag}${body}${tag}`;
}

/** Escapes a channel's name, because `text` cannot hold NUL. `publish(channel, event)` in SQL escapes the same way. */
export function storedName(channel: string): string {
  return channel.replaceAll("\\", "\\\\").replaceAll("\0", "\\0");
}

/** The channel's name, from the one that `storedName` made. */
export function originalName(stored: string): string {
  return stored.replace(/\\(.)/g, (_escape, character: string) => (character === "0" ? "\0" : character));
}
