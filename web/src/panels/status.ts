// The line below: where the crosshair is, what is computed and how long it took, and that it is saved.

import { h } from '../elements/dom.ts'
import type { Vec3 } from '../scan/axes.ts'
import type { Model } from '../session/model.ts'

const DONE: Record<string, string> = {
  box: 'Segmented',
  scribble: 'Adapted',
  refine: 'Refined',
  resize: 'Begun anew',
  propagate: 'Carried on',
  tidy: 'Tidied',
  undo: 'Undone',
  redo: 'Redone',
  reject: 'Rejected',
}

export class Status {
  private readonly pointer = h('span', { class: 'pointer' })
  private readonly place = h('span', { class: 'place', title: 'The crosshair' })
  private readonly doing = h('span', { class: 'doing', role: 'status' })
  private readonly stop: HTMLButtonElement
  private readonly kept = h('span', { class: 'kept' })
  private readonly coming = h('progress', { max: 1, 'aria-label': 'The scan is on its way', hidden: true })
  readonly element: HTMLElement

  constructor(private readonly model: Model) {
    this.stop = h(
      'button',
      { type: 'button', hidden: true, title: 'Cancel (Esc)', onclick: () => model.cancel() },
      'Cancel',
    )
    this.element = h(
      'footer',
      { class: 'status' },
      this.pointer,
      this.place,
      this.coming,
      this.doing,
      this.stop,
      this.kept,
    )
  }

  update(): void {
    const { busy, state } = this.model
    this.stop.hidden = !busy || busy.stopping
    set(this.doing, this.sentence())
    if (busy) return
    set(this.kept, state.number ? 'Saved' : 'Nothing to save yet')
    this.kept.dataset.number = String(state.number) // of the last step
  }

  /** Which share of the scan is here. */
  arrived(share: number): void {
    this.coming.hidden = share === 1
    this.coming.value = share
  }

  /** Where the crosshair is: a voxel in the file's order, and its value. */
  at(voxel: Vec3, value: string): void {
    set(this.place, `${voxel.join(', ')} · ${value}`)
  }

  /** Where the pointer is; null: nowhere. */
  under(voxel: Vec3 | null, value: string): void {
    set(this.pointer, voxel ? `${value} at ${voxel.join(', ')}` : '')
  }

  private sentence(): string {
    const { busy, last } = this.model
    if (busy?.stopping) return 'Cancelling …'
    if (busy) {
      const queued = busy.queued ? `, ${busy.queued} before it` : ''
      return `Computing${queued}${busy.round ? `, round ${busy.round}` : ''} …`
    }
    return last ? `${DONE[last.kind] ?? 'Done'} in ${time(last.total)}` : ''
  }
}

/** A duration for people. */
export function time(seconds: number): string {
  return seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`
}

/** Screen readers say again what is set again. */
function set(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text
}
