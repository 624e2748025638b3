import type { Database, Ear, Runner } from "./database.js";

/** The one connection that listens, and the pool wherever there is none. */
export class Hearing {
  readonly #database: Database;
  readonly #bell: string | undefined;
  readonly #timeout: number;
  readonly #longestPause: number;
  readonly #heard: (payload: string) => void;
  readonly #deafen: () => void;
  #ear: Ear | undefined;
  /** When to try again. */
  #listenAfter = 0;
  #failures = 0;

  /**
   * @param bell `undefined`: it never listens
   * @param deafen called whenever bells may have rung that nobody heard
   */
  constructor(
    database: Database,
    bell: string | undefined,
    timeout: number,
    longestPause: number,
    heard: (payload: string) => void,
    deafen: () => void,
  ) {
    this.#database = database;
    this.#bell = bell;
    this.#timeout = timeout;
    this.#longestPause = longestPause;
    this.#heard = heard;
    this.#deafen = deafen;
  }

  get isListening(): boolean {
    return this.#ear !== undefined;
  }

  /** What to ask: the connection that listens, so that the application's pool is left to it. */
  async runner(): Promise<Runner> {
    if (this.#ear !== undefined) return this.#ear;
    if (this.#bell === undefined || performance.now() < this.#listenAfter) return this.#database;
    let ear: Ear | undefined = undefined;
    const lost = (): void => this.#lose(ear);
    try {
      ear = await this.#database.listen(this.#bell, this.#heard, lost, this.#timeout);
    } catch {
      this.#listenAfter = performance.now() + Math.min(100 * 2 ** this.#failures++, this.#longestPause);
      return this.#database;
    }
    this.#ear = ear;
    this.#failures = 0;
    this.#deafen();
    return ear;
  }

  #lose(ear: Ear | undefined): void {
    if (ear === undefined || this.#ear !== ear) return;
    this.#ear = undefined;
    this.#deafen();
  }

  async hangUp(): Promise<void> {
    const ear = this.#ear;
    this.#ear = undefined;
    await ear?.close();
  }
}
