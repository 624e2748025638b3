import fc from "fast-check";

/** A kind of random program. `check` runs one, and rejects if the library does not behave as it should. */
export interface Fuzzed<Program> {
  readonly name: string;
  readonly program: fc.Arbitrary<Program>;
  readonly check: (program: Program) => Promise<void>;
  /** How many programs run at the same time. */
  readonly abreast: number;
  /** Set up and tear down what all programs share. */
  readonly start?: () => Promise<void>;
  readonly stop?: () => Promise<void>;
}

export interface Failure {
  readonly seed: number;
  readonly message: string;
}

export interface FuzzOptions {
  readonly seed: number;
  readonly runs: number;
  /** Milliseconds for which a failing program is shrunk. */
  readonly shrinkFor: number;
  /** Called for each failure at once. */
  readonly failed?: (failure: Failure) => void;
  /** After how many failures to stop. */
  readonly enough?: number;
}

/** Runs one program for each of `runs` seeds, from `seed` on. Its seed alone replays a program. */
export async function fuzz<Program>(fuzzed: Fuzzed<Program>, options: FuzzOptions): Promise<Failure[]> {
  const { seed, runs, shrinkFor, failed, enough = Infinity } = options;
  const failures: Failure[] = [];
  let next = seed;
  const worker = async (): Promise<void> => {
    while (next < seed + runs && failures.length < enough) {
      const failure = await runOne(fuzzed, next++, shrinkFor);
      if (failure === undefined) continue;
      failures.push(failure);
      failed?.(failure);
    }
  };
  await Promise.all(Array.from({ length: fuzzed.abreast }, worker));
  return failures;
}

async function runOne<Program>(
  { program, check }: Fuzzed<Program>,
  seed: number,
  shrinkFor: number,
): Promise<Failure | undefined> {
  let isShrinking = false;
  const started = performance.now();
  const property = fc.asyncProperty(program, async (drawn) => {
    // When the time for shrinking is over, every smaller program passes, which ends the shrinking.
    if (isShrinking && performance.now() - started > shrinkFor) return;
    try {
      await check(drawn);
    } catch (error) {
      isShrinking = true;
      throw error;
    }
  });
  const result = await fc.check(property, { seed, numRuns: 1, includeErrorInReport: true });
  if (!result.failed) return undefined;
  const [smallest] = result.counterexample as [Program];
  const error = result.errorInstance as Error;
  return { seed, message: `${error.message}\n${JSON.stringify(smallest)}` };
}
