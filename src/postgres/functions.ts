import { expiryFunctions } from "./expiry-functions.js";
import { numberingFunctions } from "./numbering-functions.js";
import { definer } from "./plpgsql.js";
import { producingFunction } from "./producing-function.js";
import { readingFunctions } from "./reading-functions.js";
import { transactionFunctions } from "./transaction-functions.js";

/**
 * The functions of the schema. Each takes effect as a whole or not at all. Those that the broker calls return text or
 * nothing, so that the application's type parsers do not matter.
 */
export function functions(s: string, bell: string): string {
  const define = definer(s);
  return [
    numberingFunctions(s, bell, define),
    readingFunctions(s, define),
    expiryFunctions(s, define),
    producingFunction(s, define),
    transactionFunctions(s, bell, define),
  ].join("");
}
