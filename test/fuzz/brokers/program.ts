import fc from "fast-check";

/** Names of channels; every client reads some of them. */
export const channels = ["a", "b", "c"] as const;

export type Step =
  | { readonly do: "publish"; readonly channel: string; readonly count: number }
  | { readonly do: "end"; readonly channel: string }
  /** Without an id, or with one that the client has seen, one that is made up, or one of another channel. */
  | {
      readonly do: "connect";
      readonly client: number;
      readonly id: "none" | "last" | "earlier" | "made up" | "foreign";
      readonly which: number;
    }
  | { readonly do: "read"; readonly client: number; readonly count: number }
  | { readonly do: "leave"; readonly client: number; readonly how: "return" | "abort" }
  | { readonly do: "pass"; readonly milliseconds: number }
  /** Only for brokers with a store: its connections are cut, or it is killed and started again. */
  | { readonly do: "cut" }
  | { readonly do: "kill" }
  | { readonly do: "turn" };

export interface BrokerProgram {
  readonly maxEvents: number;
  /** In milliseconds. If it is set, no channel is ended, because the broker may forget that it was. */
  readonly maxAge: number | undefined;
  readonly clients: readonly { readonly channels: readonly string[]; readonly from: "now" | "start" }[];
  readonly steps: readonly Step[];
}

const channel = fc.constantFrom<string[]>(...channels);
const client = fc.nat({ max: 3 });
const count = fc.integer({ min: 1, max: 12 });

function step<Name extends Step["do"]>(name: Name): fc.Arbitrary<Name> {
  return fc.constant(name);
}

const steps: Readonly<Record<Step["do"], fc.Arbitrary<Step>>> = {
  publish: fc.record({ do: step("publish"), channel, count }),
  end: fc.record({ do: step("end"), channel }),
  connect: fc.record({
    do: step("connect"),
    client,
    id: fc.constantFrom<("none" | "last" | "earlier" | "made up" | "foreign")[]>(
      "none",
      "last",
      "last",
      "earlier",
      "made up",
      "foreign",
    ),
    which: fc.nat({ max: 50 }),
  }),
  read: fc.record({ do: step("read"), client, count }),
  leave: fc.record({
    do: step("leave"),
    client,
    how: fc.constantFrom<("return" | "abort")[]>("return", "abort"),
  }),
  pass: fc.record({ do: step("pass"), milliseconds: fc.constantFrom(20, 150, 900) }),
  cut: fc.record({ do: step("cut") }),
  kill: fc.record({ do: step("kill") }),
  turn: fc.record({ do: step("turn") }),
};

/** Programs of up to `length` steps, each kind as frequent as its weight says. */
export function brokerProgram(
  weights: Partial<Record<Step["do"], number>>,
  { length, maxAge }: { length: number; maxAge: number | undefined },
): fc.Arbitrary<BrokerProgram> {
  const choices = Object.entries(weights).map(([name, weight]) => ({ weight, arbitrary: steps[name as Step["do"]] }));
  return fc.record({
    maxEvents: fc.integer({ min: 1, max: 9 }),
    maxAge: fc.constantFrom(undefined, maxAge),
    clients: fc.array(
      fc.record({
        channels: fc.uniqueArray(channel, { minLength: 1 }),
        from: fc.constantFrom<("now" | "start")[]>("now", "start"),
      }),
      { minLength: 4, maxLength: 4 },
    ),
    steps: fc.array(fc.oneof(...choices), { minLength: 5, maxLength: length, size: "max" }),
  });
}
