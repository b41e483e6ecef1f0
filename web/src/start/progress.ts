// Something that is on its way, in words: how far it is, how to stop it, what went wrong.

import { h } from '../elements/dom.ts'
import { sentenceOf } from '../server/errors.ts'
import type { Telling } from './intake.ts'

/** One thing at a time; while it runs, nothing in `blocks` can be asked for. */
export class Progress {
  readonly element: HTMLElement
  readonly #blocks: HTMLElement
  #running: AbortController | null = null
  readonly #status = h('p', { role: 'status' })
  readonly #alert = h('p', { role: 'alert' })
  readonly #bar = h('progress', { max: 1, 'aria-label': 'Progress' })
  readonly #percent = h('span', {})
  readonly #cancel = h('button', { type: 'button', onclick: () => this.#running?.abort() }, 'Cancel')
  readonly #progress = h('div', { class: 'progress', hidden: true }, this.#bar, this.#percent, this.#cancel)

  constructor(blocks: HTMLElement) {
    this.#blocks = blocks
    this.element = h('div', { class: 'task' }, this.#status, this.#progress, this.#alert)
  }

  /** Do some work, and then what it answers; errors are told here, and none is thrown. */
  async run(doing: string, work: (signal: AbortSignal, telling: Telling) => Promise<() => void>): Promise<void> {
    if (this.#running) return
    const running = new AbortController()
    const before = document.activeElement
    this.#begin(running, doing)
    let then = () => {}
    try {
      then = await Promise.race([work(running.signal, (share, now) => this.#tell(share, now)), aborted(running.signal)])
    } catch (error) {
      this.fail(error)
    }
    this.#end(before)
    then()
  }

  /** Tell an error, but for the user's own wish to stop. */
  fail(error: unknown): void {
    if (error instanceof DOMException && error.name === 'AbortError') return
    this.#alert.textContent = sentenceOf(error)
  }

  #begin(running: AbortController, doing: string): void {
    this.#running = running
    this.#alert.textContent = ''
    this.#progress.hidden = false
    this.#tell(null, doing)
    this.#blocks.inert = true
    this.#cancel.focus()
  }

  #tell(share: number | null, doing: string): void {
    const sentence = `${doing} …`
    if (this.#status.textContent !== sentence) this.#status.textContent = sentence // said once, not at every percent
    if (share === null) this.#bar.removeAttribute('value')
    else this.#bar.value = share
    this.#percent.textContent = share === null ? '' : `${Math.floor(100 * share)} %`
  }

  #end(before: Element | null): void {
    this.#running = null
    this.#progress.hidden = true
    this.#status.textContent = ''
    this.#blocks.inert = false
    if (before instanceof HTMLElement && before.isConnected) before.focus()
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
}
