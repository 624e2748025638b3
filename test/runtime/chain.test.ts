import { describe, expect, it } from "vitest";
import { Chain, type Link } from "../../src/runtime/chain.js";

class Member implements Link<Member> {
  before: Member | undefined;
  after: Member | undefined;
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

function chainOf(names: string): { chain: Chain<Member>; members: Member[] } {
  const chain = new Chain<Member>();
  const members = [...names].map((name) => new Member(name));
  for (const member of members) chain.add(member);
  return { chain, members };
}

const namesOf = (members: readonly Member[]): string => members.map(({ name }) => name).join("");

describe("a chain", () => {
  it("gives its members back in the order in which they joined, and is empty then", () => {
    const { chain } = chainOf("abc");
    expect(chain.first?.name).toBe("a");
    expect(namesOf(chain.takeAll())).toBe("abc");
    expect(chain.first).toBeUndefined();
    expect(chain.takeAll()).toEqual([]);
  });

  it.each(["a", "b", "c", "ab", "ba", "bc", "cb", "ac", "ca"])(
    "keeps the order of the rest when %s leave",
    (leaving) => {
      const { chain, members } = chainOf("abc");
      for (const name of leaving) expect(chain.delete(members["abc".indexOf(name)] as Member)).toBe(true);
      const rest = [..."abc"].filter((name) => !leaving.includes(name)).join("");
      expect(chain.first?.name).toBe(rest[0]);
      chain.add(new Member("d"));
      expect(namesOf(chain.takeAll())).toBe(`${rest}d`);
    },
  );

  it("takes a member that has left once more, at its end", () => {
    const { chain, members } = chainOf("abc");
    chain.delete(members[0] as Member);
    chain.add(members[0] as Member);
    expect(namesOf(chain.takeAll())).toBe("bca");
  });

  it("says that one that is not a member has not left", () => {
    const { chain, members } = chainOf("ab");
    expect(chain.delete(new Member("c"))).toBe(false);
    for (const member of members) expect(chain.delete(member)).toBe(true);
    for (const member of members) expect(chain.delete(member)).toBe(false);
  });

  it("leaves no reference to the others in a member that has left", () => {
    const { chain, members } = chainOf("abcd");
    const [a, b] = members as [Member, Member];
    chain.delete(b);
    chain.delete(a);
    chain.takeAll();
    for (const member of members) expect([member.before, member.after]).toEqual([undefined, undefined]);
  });
});
