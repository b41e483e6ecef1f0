// The line below the slices: what to do next, or what is to be decided. It never moves anything else.

import { h } from '../elements/dom.ts'
import { ALL, type Box } from '../scan/axes.ts'
import type { Stroke } from '../server/types.ts'
import { type Adaptation, SHOWINGS, type Showing } from '../session/adaptation.ts'
import { lost } from '../session/conflict.ts'
import type { Model } from '../session/model.ts'

export interface Decisions {
  begin(): void
  beginByStrokes(): void
  discard(): void
}

const SHOWN: Record<Showing, string> = { after: 'After', before: 'Before', changes: 'Changes' }

export class Guide {
  private readonly conflict = h('section', { class: 'decision', 'aria-label': 'Conflict', hidden: true })
  private readonly draft = h('section', { class: 'decision', 'aria-label': 'Box to be', hidden: true })
  private readonly opening = h('section', { class: 'decision', 'aria-label': 'Object to be', hidden: true })
  private readonly adaptation = h('section', { class: 'decision', 'aria-label': 'Adaptation', hidden: true })
  private readonly hint = h('p', { class: 'hint', role: 'note' })
  readonly element = h(
    'div',
    { class: 'guide' },
    h('div', { class: 'guide-inside' }, this.conflict, this.draft, this.opening, this.adaptation, this.hint),
  )
  private readonly built = new Map<HTMLElement, string>()

  constructor(
    private readonly model: Model,
    private readonly planar: boolean,
    private readonly decisions: Decisions,
  ) {}

  /** `draft`: a box that is not segmented yet; `painting`: whether a brush is in the hand. */
  update(draft: Box | null, dimension: 2 | 3, painting: boolean): void {
    const { model } = this
    const { conflict, adaptation } = model
    const { opening } = model.outbox
    const shown: [HTMLElement, unknown][] = [
      [this.conflict, conflict],
      [this.draft, draft],
      [this.opening, opening],
      [this.adaptation, adaptation],
      [this.hint, true],
    ]
    const first = shown.find(([, there]) => there)?.[0]
    for (const [one] of shown) one.hidden = one !== first
    this.keep(this.conflict, conflict, () => this.conflictIn())
    this.keep(this.draft, draft, () => this.draftIn())
    this.keep(this.opening, opening && [opening.length, dimension], () => this.openingIn(opening ?? [], dimension))
    this.keep(this.adaptation, adaptation && { ...adaptation, before: 0, changes: adaptation.changes !== null }, () =>
      this.adaptationIn(adaptation as Adaptation),
    )
    const hint = this.sentence(dimension, painting)
    if (this.hint.textContent !== hint) this.hint.textContent = hint
  }

  private keep(section: HTMLElement, shown: unknown, build: () => Node[]): void {
    const key = JSON.stringify(shown ?? null)
    if (this.built.get(section) === key) return
    this.built.set(section, key)
    const focused = section.contains(document.activeElement) ? document.activeElement?.getAttribute('data-key') : null
    section.replaceChildren(...(shown ? build() : []))
    if (focused) section.querySelector<HTMLElement>(`[data-key="${focused}"]`)?.focus()
  }

  /** What one would do next, in one line. */
  private sentence(dimension: 2 | 3, painting: boolean): string {
    const { model, planar } = this
    const { current, state } = model
    if (!current) {
      if (painting) return `${WITHOUT_A_BOX}.`
      return planar || dimension === 2
        ? 'Draw a box around what you want to have: press in one corner, drag to the other. Or paint it (Shift+P).'
        : 'Draw a box around what you want to have, in any view; its depth is asked next. Or paint it (Shift+P).'
    }
    const onwards = model.planeAxis !== null && !planar ? 'carry it to the next slice (.), ' : ''
    const painted = model.patch(current, 'scribbles')?.data.some((value) => value > 0)
    if (!painted) {
      return painting
        ? 'Paint over what the outline misses. Shift paints what does not belong to it.'
        : 'Where the outline is wrong, paint: Object (F) where it is missing, Not it (G) where it is too much.'
    }
    return state.number
      ? `Paint again where it is still wrong. Else ${onwards}draw the next box (B), or export (Ctrl+S).`
      : ''
  }

  private conflictIn(): Node[] {
    const { conflict } = this.model
    if (!conflict) return []
    return [
      h('p', {}, `${conflict.news} ${lost(conflict)}`),
      actions(
        button('again', 'Do it all the same', '', () => this.model.again(), true),
        button('drop', 'Leave it', '', () => this.model.drop()),
      ),
    ]
  }

  private draftIn(): Node[] {
    const sentence = this.planar
      ? 'Pull the sides of the box where they should be; then segment.'
      : 'Pull its sides, or draw it in a second view, too; then segment.'
    return [
      h('p', {}, sentence),
      actions(
        button('segment', 'Segment', 'Enter', () => this.decisions.begin(), true),
        button('discard', 'Discard', 'Esc', () => this.decisions.discard()),
      ),
    ]
  }

  private openingIn(strokes: readonly Stroke[], dimension: 2 | 3): Node[] {
    const flat = !this.planar && dimension === 3 && strokes.length > 0 && inOnePlane(strokes)
    const sentence = flat
      ? 'In this slice alone it becomes an object in 2D; for one in 3D paint in a second view, too.'
      : `${WITHOUT_A_BOX}${this.planar || dimension === 2 ? '' : ', in two views or three'}.`
    const ready = strokes.some((stroke) => stroke.label === 1)
    return [
      h('p', {}, sentence),
      actions(
        ...(ready ? [button('segment', 'Segment', 'Enter', () => this.decisions.beginByStrokes(), true)] : []),
        button('discard', 'Discard', 'Esc', () => this.decisions.discard()),
      ),
    ]
  }

  private adaptationIn({ alarm, added, removed, changes, showing, strokes }: Adaptation): Node[] {
    const { model } = this
    const back = button('back', 'Take back', 'Ctrl+Z', () => model.takeBack(), alarm !== null)
    const keep = button('keep', 'Keep', 'Enter', () => model.accept(), alarm === null)
    const reject = button('reject', 'Reject', 'R', () => model.reject())
    reject.title = 'Reject (R): only what you painted stays'
    const views = h(
      'fieldset',
      { class: 'switch' },
      h('legend', { class: 'unseen' }, 'Show the mask'),
      ...SHOWINGS.map((which) =>
        h(
          'label',
          { class: which },
          h('input', {
            type: 'radio',
            name: 'showing',
            checked: showing === which,
            'data-key': which,
            onchange: () => model.show(which),
          }),
          SHOWN[which],
        ),
      ),
    )
    const choices = strokes.length && changes ? [keep, reject] : [keep]
    return [
      h('p', {}, alarm ? ALARMS[alarm] : this.changed(added, removed)),
      ...(changes ? [views] : []),
      actions(...(alarm ? [back, ...choices] : choices)),
    ]
  }

  private changed(added: number, removed: number): string {
    if (!added && !removed) return 'Nothing else changed. You may just paint on.'
    const unit = this.planar ? 'pixels' : 'voxels'
    const told = [added && `${count(added)} ${unit} came`, removed && `${count(removed)} went`]
      .filter(Boolean)
      .join(', ')
    return `${told}. You need not answer: painting on keeps it.`
  }
}

const WITHOUT_A_BOX = 'Paint a line in the object (F) and, best, a loop around it (G)'

/** Whether strokes pass one plane of the scan alone. */
function inOnePlane(strokes: readonly Stroke[]): boolean {
  const points = strokes.flatMap((stroke) => stroke.points)
  return ALL.some((k) => points.every((point) => Math.round(point[k] ?? 0) === Math.round(points[0]?.[k] ?? 0)))
}

const ALARMS = {
  shrunk: 'More than half of the mask is gone. Was that meant?',
  grown: 'The mask is more than twice as large as before. Was that meant?',
}

function count(voxels: number): string {
  return voxels.toLocaleString('en')
}

function actions(...buttons: HTMLElement[]): HTMLElement {
  return h('div', { class: 'actions' }, ...buttons)
}

function button(key: string, text: string, keys: string, run: () => void, primary = false): HTMLButtonElement {
  const title = keys ? `${text} (${keys})` : text
  const attributes = { type: 'button', title, 'data-key': key, onclick: run, class: primary ? 'primary' : null }
  return h('button', attributes, text)
}
