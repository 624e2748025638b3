import { expiryFunctions } from "./expiry-functions.js";
import { numberingFunctions } from "./numbering-functions.js";
import { definer } from "./plpgsql.js";
import { producingFunction } from "./producing-function.js";
import { readingFunctions } from "./reading-functions.js";
import { transactionFunctions } from "./transaction-functions.js";

/**
 * The functions of the schema: each is one step that nothing can interrupt. They return text only, so that the
 * application's type parsers do not matter.
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
