// What was drawn and has no answer yet: kept by this tab, so that neither a server that is away nor a reload loses it.

import type { Stroke } from '../server/types.ts'

/** An interaction that was sent; who sends it again, under the same key, has it done once. */
export interface Sending {
  key: string
  kind: string
  body: object
  /** The session's number that it was made for. */
  at: number
}

interface Kept {
  sent: Sending | null
  waiting: Stroke[]
  opening: Stroke[] | null
}

const NOTHING: Kept = { sent: null, waiting: [], opening: null }
const DRAWN = ['box', 'scribble', 'resize'] // all else is one click

export class Outbox {
  private kept: Kept
  private readonly key: string

  constructor(
    session: string,
    private readonly storage: Storage | null = available(),
  ) {
    this.key = `bifseg-unsent-${session}`
    this.kept = this.read()
  }

  /** What was sent and not answered. */
  get sent(): Sending | null {
    return this.kept.sent
  }

  /** Strokes that wait for what was sent. */
  get waiting(): readonly Stroke[] {
    return this.kept.waiting
  }

  /** Strokes that are to begin an object; null where none is begun so. */
  get opening(): readonly Stroke[] | null {
    return this.kept.opening
  }

  /** All strokes that no mask knows yet, in file voxels. */
  get strokes(): Stroke[] {
    return [...strokesOf(this.kept.sent?.body), ...this.kept.waiting, ...(this.kept.opening ?? [])]
  }

  open(strokes: Stroke[] | null): void {
    this.write({ ...this.kept, opening: strokes })
  }

  /** An interaction is sent. */
  send(sending: Sending): void {
    if (DRAWN.includes(sending.kind)) this.write({ ...this.kept, sent: sending })
  }

  /** There is an answer. */
  answered(): void {
    if (this.kept.sent) this.write({ ...this.kept, sent: null })
  }

  wait(strokes: readonly Stroke[]): void {
    this.write({ ...this.kept, waiting: [...this.kept.waiting, ...strokes] })
  }

  /** The strokes that waited; none waits any longer. */
  take(): Stroke[] {
    const { waiting } = this.kept
    if (waiting.length) this.write({ ...this.kept, waiting: [] })
    return waiting
  }

  private write(kept: Kept): void {
    this.kept = kept
    try {
      if (kept.sent || kept.waiting.length || kept.opening?.length)
        this.storage?.setItem(this.key, JSON.stringify(kept))
      else this.storage?.removeItem(this.key)
    } catch {
      // a full or forbidden storage: it still waits in the page
    }
  }

  private read(): Kept {
    try {
      return { ...NOTHING, ...JSON.parse(this.storage?.getItem(this.key) ?? '{}') }
    } catch {
      return NOTHING
    }
  }
}

/** The strokes in an interaction's body. */
export function strokesOf(body: object | undefined): Stroke[] {
  return (body as { scribbles?: { strokes?: Stroke[] } } | undefined)?.scribbles?.strokes ?? []
}

function available(): Storage | null {
  try {
    return globalThis.sessionStorage ?? null
  } catch {
    return null
  }
}
