import fc from "fast-check";

/** A kind of programs, and what runs one and rejects where it does not behave. */
export interface Fuzzed<Program> {
  readonly name: string;
  readonly program: fc.Arbitrary<Program>;
  readonly check: (program: Program) => Promise<void>;
  /** How many programs run beside each other. */
  readonly abreast: number;
  /** What all programs share. */
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
  /** Milliseconds for which a failing program is made smaller. */
  readonly shrinkFor: number;
  /** Hears of each failure at once. */
  readonly failed?: (failure: Failure) => void;
  /** Stops after so many failures. */
  readonly enough?: number;
}

/** Runs the programs of `runs` seeds from `seed` on, each of which is replayed by its own seed. */
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
    // What takes too long to make smaller passes for good.
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
