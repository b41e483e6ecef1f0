// What the server refuses and why: a sentence for people, data for the page.

import type { Refusal, SeriesInfo } from './types.ts'

/** Why the server did not do something, in its own sentence; status 0: it could not be asked. */
export class ApiError extends Error {
  override readonly name = 'ApiError'
  readonly status: number
  /** Seconds after which it wants to be asked again. */
  readonly after: number | null
  /** The kind of refusal, where programs are told one. */
  readonly code: string | null
  /** Of "several_series": what there is to choose from. */
  readonly series: SeriesInfo[]

  constructor(status: number, sentence: string, after: number | null = null, refusal: Refusal | null = null) {
    super(sentence)
    this.status = status
    this.after = after
    this.code = refusal?.code ?? null
    this.series = refusal?.series ?? []
  }
}

/** Whether an error is the server's answer of a status. */
export function isRefused(error: unknown, status: number): boolean {
  return error instanceof ApiError && error.status === status
}

/** What an answer says of why it is none; null where it does not, such as a proxy's page. */
export function refusalIn(text: string): Refusal | null {
  try {
    const refusal = JSON.parse(text)
    return typeof refusal?.detail === 'string' ? refusal : null
  } catch {
    return null
  }
}

/** What went wrong, in a sentence for the user. */
export function sentenceOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
