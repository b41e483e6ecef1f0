// How the server is asked: what can be asked twice outlives a lost connection; errors are the server's sentences.

import { ApiError, refusalIn } from './errors.ts'
import { type Whole, whole } from './whole.ts'
import { LostError, orAborted, type Progress, wire } from './wire.ts'

const BREAKS = 5 // of one request, after which the fault is in the request
const REFUSALS = 6 // that ask to come again
const LATER = 10 // seconds; one who has to wait longer is better told
const LONG = 60_000 // milliseconds; what was refused after that took too long, and would again
const POLLS = [1, 1, 1, 1.5, 2, 3, 4, 5] // seconds between questions whether the server is back
const PATIENCE = 5000 // milliseconds that it has for an answer to one of them

/** The line to one server. `second`: milliseconds that a second of waiting has; tests have less. */
export class Requests {
  /** Hears when the server cannot be reached, when it can again, and when it does not know the user (any more). */
  onconnection: (state: 'lost' | 'back' | 'denied') => void = () => {}
  /** How large answers are fetched. */
  large: (address: string) => Promise<Whole> = whole
  protected readonly base: string
  protected readonly second: number
  private returning: Promise<void> | null = null

  constructor(base = '', second = 1000) {
    this.base = base && `${base}/`
    this.second = second
  }

  /** JSON of what may be asked again. */
  protected json<T>(path: string, request: RequestInit = {}): Promise<T> {
    return this.patiently(async () => {
      const response = await this.fetch(`api/v1/${path}`, request)
      return JSON.parse(await wire(response.text()))
    })
  }

  /** What must not be asked twice: a lost connection is an error. */
  protected async once(path: string, request: RequestInit, entering = false): Promise<Response> {
    try {
      return await this.fetch(path, request, entering)
    } catch (error) {
      if (!(error instanceof LostError)) throw error
      void this.back()
      throw new ApiError(0, 'The server cannot be reached; try again when it is back.')
    }
  }

  /** As `fetch`, of a large answer, off the page's thread where `large` is so. */
  protected async whole(path: string): Promise<ArrayBuffer> {
    const { status, after, body } = await wire(this.large(this.base + path))
    if (status < 300) return body
    if (status === 502 || status === 504) throw new LostError()
    throw this.refused(status, new TextDecoder().decode(body), after === null ? null : Number(after))
  }

  /** An answer that is not a refusal; LostError where there is none. */
  protected async fetch(path: string, request: RequestInit = {}, entering = false): Promise<Response> {
    const response = await wire(fetch(this.base + path, request))
    if (response.ok) return response
    if (response.status === 502 || response.status === 504) throw new LostError() // a proxy whose server is away
    const after = response.headers.get('Retry-After')
    const text = await wire(response.text())
    throw this.refused(response.status, text, after === null ? null : Number(after), entering)
  }

  protected refused(status: number, text: string, after: number | null = null, entering = false): ApiError {
    if (status === 401 && !entering) this.onconnection('denied')
    const refusal = refusalIn(text)
    return new ApiError(status, refusal?.detail ?? `The server answered ${status}.`, after, refusal)
  }

  /** Ask until there is an answer: again once a lost server is back, and when one that is busy said to come again. */
  protected async patiently<T>(ask: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    let breaks = 0
    let refusals = 0
    for (;;) {
      signal?.throwIfAborted()
      const since = performance.now()
      try {
        return await ask()
      } catch (error) {
        signal?.throwIfAborted()
        if (error instanceof LostError) {
          if (++breaks > BREAKS) throw new ApiError(0, `The connection broke ${breaks} times over the same request.`)
          await orAborted(this.back(), signal)
        } else if (error instanceof ApiError && comesAgain(error, performance.now() - since)) {
          if (++refusals > REFUSALS) throw error
          await orAborted(this.pause(error.after ?? 1), signal)
        } else throw error
      }
    }
  }

  /** Wait until the server can be reached; all who wait do so together. */
  protected back(): Promise<void> {
    this.returning ??= this.polled().finally(() => {
      this.returning = null
    })
    return this.returning
  }

  protected async polled(): Promise<void> {
    this.onconnection('lost')
    for (let k = 0; ; k++) {
      await this.pause(POLLS[k] ?? 5)
      const answer = await fetch(`${this.base}healthz`, { signal: AbortSignal.timeout(PATIENCE) }).catch(() => null)
      if (answer?.ok) break
    }
    this.onconnection('back')
  }

  protected pause(seconds: number): Promise<void> {
    return new Promise((resolve) => setTimeout(resolve, seconds * this.second))
  }

  /** Send a file by the older way, which tells how far it is. */
  protected send<T>(path: string, body: Blob, progress: Progress = () => {}, signal?: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason)
      const request = new XMLHttpRequest()
      const stop = () => request.abort()
      signal?.addEventListener('abort', stop)
      request.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 1)
      request.onload = () => {
        if (request.status < 300) resolve(JSON.parse(request.responseText))
        else reject(this.refused(request.status, request.responseText))
      }
      request.onabort = () => reject(signal?.reason)
      request.onerror = () => {
        void this.back()
        reject(new ApiError(0, 'The upload broke off: the server is away, or the file cannot be read; try again.'))
      }
      request.onloadend = () => signal?.removeEventListener('abort', stop)
      request.open('POST', `${this.base}api/v1/${path}`)
      request.setRequestHeader('Content-Type', 'application/octet-stream')
      request.send(body)
    })
  }
}

function comesAgain({ status, after }: ApiError, milliseconds: number): boolean {
  return (status === 503 || status === 429) && after !== null && after <= LATER && milliseconds < LONG
}
