/** A member of a chain. Only the chain touches these fields, so an object is in one chain at a time. */
export interface Link<T> {
  before: T | undefined;
  after: T | undefined;
}

/**
 * A list that streams join at its end and leave from anywhere.
 *
 * A `Set` would do the same at a much higher price. One that lives long is in V8's old space, and so are the tables that it
 * outgrows. Until the next full collection, each of those tables keeps alive what it held, so that nearly every stream that
 * comes and goes is moved there: 16 µs for each of them. A member that leaves a chain takes its references along.
 */
export class Chain<T extends Link<T>> {
  #first: T | undefined;
  #last: T | undefined;

  get first(): T | undefined {
    return this.#first;
  }

  /** Adds an object that is in no chain. */
  add(member: T): void {
    if (this.#last === undefined) this.#first = member;
    else this.#last.after = member;
    member.before = this.#last;
    this.#last = member;
  }

  /** @returns whether `member` was in this chain; it must not be in another one */
  delete(member: T): boolean {
    const { before, after } = member;
    if (before === undefined && this.#first !== member) return false;
    if (before === undefined) this.#first = after;
    else before.after = after;
    if (after === undefined) this.#last = before;
    else after.before = before;
    member.before = undefined;
    member.after = undefined;
    return true;
  }

  /** Removes all members, and returns them in order. */
  takeAll(): T[] {
    const members: T[] = [];
    for (let member = this.#first; member !== undefined; member = this.#first) {
      this.delete(member);
      members.push(member);
    }
    return members;
  }
}
