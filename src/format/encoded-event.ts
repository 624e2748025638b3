/**
 * An event that carries its frame, so that it is encoded once however many streams it goes to.
 *
 * The frame is private and belongs to this object alone. A copy (`{ ...event, data: other }`) is an ordinary event and
 * is encoded again.
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
