// One piece of work after the other, in the order they were asked for.

export class Turns {
  private tail: Promise<unknown> = Promise.resolve()
  private drops = 0

  /** `failed` hears what a piece of work threw, `dropped` of each that is not done. */
  constructor(
    private readonly failed: (error: unknown) => void,
    private readonly dropped: () => void,
  ) {}

  /** Resolves when all that was asked for is done. */
  get settled(): Promise<unknown> {
    return this.tail
  }

  /** Do it when its turn comes, unless it was dropped by then. */
  take(work: () => Promise<void>): Promise<void> {
    const { drops } = this
    return this.keep(async () => (drops === this.drops ? work() : this.dropped()))
  }

  /** Do it when its turn comes, whatever was dropped. */
  keep(work: () => Promise<void>): Promise<void> {
    const next = this.tail.then(work).catch((error: unknown) => this.failed(error))
    this.tail = next
    return next
  }

  /** Leave undone what waits to be taken. */
  drop(): void {
    this.drops++
  }
}
