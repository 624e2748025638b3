/** An event of a channel, as far as the model knows it. */
interface Published {
  readonly at: number;
  /** Whether the broker said that it is stored. If `publish` rejected, it may have been stored all the same. */
  isStored: boolean;
}

/** The channels as arrays of everything that was ever published. */
export class Model {
  readonly ended: Set<string> = new Set();
  readonly #channels = new Map<string, Published[]>();

  constructor(
    readonly maxEvents: number,
    readonly maxAge: number,
    readonly now: () => number,
    /** How many events more than `maxEvents` a channel may hold, at least for a while. */
    readonly surplus: number,
  ) {}

  /** Notes an event that is about to be published, and returns the index that it must carry. */
  publish(channel: string): { index: number; stored: () => void } {
    const events = this.#of(channel);
    const event: Published = { at: this.now(), isStored: false };
    events.push(event);
    return { index: events.length - 1, stored: () => (event.isStored = true) };
  }

  count(channel: string): number {
    return this.#of(channel).length;
  }

  isStored(channel: string, index: number): boolean {
    return this.#of(channel)[index]?.isStored === true;
  }

  /** The index of the first of the newest events that are not known to be stored, but may still come. */
  firstUnsure(channel: string): number {
    let index = this.count(channel);
    while (index > 0 && !this.isStored(channel, index - 1)) index -= 1;
    return index;
  }

  /** Whether this event may have been evicted from the channel's history by now. */
  mayHaveLeft(channel: string, index: number): boolean {
    const events = this.#of(channel);
    const { at } = events[index] as Published;
    return events.length - index > this.maxEvents || this.now() - at >= this.maxAge;
  }

  /** The first event that the channel must still hold. */
  firstHeld(channel: string): number {
    let index = 0;
    while (index < this.count(channel) && this.mayHaveLeft(channel, index)) index += 1;
    return index;
  }

  #of(channel: string): Published[] {
    let events = this.#channels.get(channel);
    if (events === undefined) this.#channels.set(channel, (events = []));
    return events;
  }
}

/** What a subscription may get next from one channel. */
export interface Place {
  /** If nothing is lost, the index of its next event lies between these two. */
  readonly least: number;
  readonly most: number;
  /** How far its gaps may have told it of missing events, and how far they certainly have: up to these indexes. */
  readonly toldUpTo: number;
  readonly surelyToldUpTo: number;
}

/** The place of a subscription that misses nothing before `least`, and has been told of no loss after that. */
export function placeAt(least: number, most: number): Place {
  return { least, most, toldUpTo: least, surelyToldUpTo: least };
}

export type Places = ReadonlyMap<string, Place>;

/** Checks what one subscription gets against the model, and throws if it is wrong. */
export class Expectation {
  #places: Map<string, Place>;
  #isFirst = true;
  /** Whether the broker does not know the id that the subscription began with: there must be a gap first. */
  readonly #isLost: boolean;
  readonly #hasId: boolean;
  readonly #began: number;

  constructor(
    readonly model: Model,
    places: Places,
    { isLost, hasId }: { isLost: boolean; hasId: boolean },
  ) {
    this.#places = new Map(places);
    this.#isLost = isLost;
    this.#hasId = hasId;
    this.#began = model.now();
  }

  /** Where a client that has got everything up to here goes on. */
  get places(): Places {
    return new Map(this.#places);
  }

  gap(): void {
    const { model } = this;
    const isTrue = [...this.#places].some(([channel, { least, surelyToldUpTo }]) => {
      // A client that comes back may be told of the same loss again.
      const from = this.#isFirst ? least : Math.max(least, surelyToldUpTo);
      for (let index = from; index < model.count(channel); index++)
        if (model.mayHaveLeft(channel, index) || !model.isStored(channel, index)) return true;
      return false;
    });
    // A channel that was idle for `maxAge` may have been forgotten; then a superfluous gap is allowed.
    const mayBeForgotten = model.now() - (this.#hasId ? 0 : this.#began) >= model.maxAge;
    if (!isTrue && !mayBeForgotten && !(this.#isFirst && this.#isLost))
      throw new Error("A gap where nothing is missing.");
    for (const [channel, place] of this.#places) {
      const held = model.firstHeld(channel);
      this.#places.set(channel, {
        ...place,
        toldUpTo: Math.max(place.toldUpTo, held),
        surelyToldUpTo: Math.max(place.surelyToldUpTo, held - model.surplus),
      });
    }
    this.#isFirst = false;
  }

  event(channel: string, index: number): void {
    const { model } = this;
    const place = this.#places.get(channel);
    const name = `${channel}[${index}]`;
    if (this.#isFirst && this.#isLost) throw new Error(`${name} comes without a gap after an id that nobody knows.`);
    if (place === undefined) throw new Error(`${name} is not of the subscription's channels.`);
    if (index >= model.count(channel)) throw new Error(`${name} was never published.`);
    if (index < place.least) throw new Error(`${name} comes again, or out of order: ${place.least} is next.`);
    for (let missing = place.most; missing < index; missing++) {
      if (!model.isStored(channel, missing)) continue;
      if (!model.mayHaveLeft(channel, missing))
        throw new Error(`${name} comes, and ${missing} is left out though it is held.`);
      if (missing >= place.toldUpTo) throw new Error(`${name} comes, and ${missing} is lost in silence.`);
    }
    this.#places.set(channel, placeAt(index + 1, index + 1));
    this.#isFirst = false;
  }

  /** Called when the subscription ends by itself. */
  end(): void {
    for (const [channel, { most }] of this.#places) {
      if (!this.model.ended.has(channel)) throw new Error(`The subscription ends, and ${channel} does not.`);
      for (let index = most; index < this.model.count(channel); index++)
        if (this.model.isStored(channel, index) && !this.model.mayHaveLeft(channel, index))
          throw new Error(`The subscription ends before ${channel}[${index}].`);
    }
  }

  /** A channel's newest event, if it is stored and held and the subscription must still get it. */
  get missing(): string | undefined {
    for (const [channel, { least }] of this.#places) {
      const last = this.model.count(channel) - 1;
      if (last >= least && this.model.isStored(channel, last) && !this.model.mayHaveLeft(channel, last))
        return `${channel}[${last}]`;
    }
    return undefined;
  }

  /** Whether all its channels have ended, so that it has to end too. */
  get mustEnd(): boolean {
    return [...this.#places.keys()].every((channel) => this.model.ended.has(channel));
  }
}
