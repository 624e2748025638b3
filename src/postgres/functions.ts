import { keepingFunctions } from "./keeping-functions.js";
import { numberingFunctions } from "./numbering-functions.js";
import { definer } from "./plpgsql.js";
import { producingFunction } from "./producing-function.js";
import { readingFunctions } from "./reading-functions.js";
import { transactionFunctions } from "./transaction-functions.js";

/**
 * What must happen at once runs in the database. Each function returns text only, so that no type parser of the application's
 * takes part.
 */
export function functions(s: string, bell: string): string {
  const define = definer(s);
  return [
    numberingFunctions(s, bell, define),
    readingFunctions(s, define),
    keepingFunctions(s, define),
    producingFunction(s, define),
    transactionFunctions(s, bell, define),
  ].join("");
}
