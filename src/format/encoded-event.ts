/**
 * An event that carries its frame, so that it is encoded once however many streams it goes to.
 *
 * The frame is private and goes with this very object: a copy (`{ ...event, data: other }`) is an
 * ordinary event again and is encoded afresh.
 */
export class EncodedEvent {
  readonly #frame: string;

  constructor(frame: string) {
    this.#frame = frame;
  }

  /** The frame of `event`, if it carries one. */
  static frameOf(this: void, event: object): string | undefined {
    return #frame in event ? event.#frame : undefined;
  }
}

export const frameOf: (event: object) => string | undefined = EncodedEvent.frameOf;
