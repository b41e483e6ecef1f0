// Buttons in the page's header that belong to a session: undo, views, export.

import { h } from '../elements/dom.ts'
import { type Icon, icon } from '../elements/icons.ts'
import type { Layout } from '../session/prefs.ts'

/** Each arrangement of views, and what it is called; their keys are 1, 2, ... */
export const LAYOUTS: [Layout, string][] = [
  ['four', 'All'],
  ['axial', 'Axial'],
  ['coronal', 'Coronal'],
  ['sagittal', 'Sagittal'],
  ['render', '3D'],
]

/** The list that the scan on the screen is one of. */
export interface Turning {
  /** Where the scan stands in it, counted from 0, of how many. */
  place: number
  count: number
  turn(step: 1 | -1): void
  /** Let the user pick one. */
  pick(): void
}

export interface Orders {
  undo(): void
  redo(): void
  arrange(layout: Layout): void
  export(): void
  report(): void
  help(): void
}

export class Topbar {
  readonly element: HTMLElement
  private readonly undo: HTMLButtonElement
  private readonly redo: HTMLButtonElement
  private readonly layouts = new Map<Layout, HTMLButtonElement>()

  constructor(planar: boolean, orders: Orders, turning: Turning | null) {
    this.undo = button('undo', 'Undo', 'Ctrl+Z', orders.undo)
    this.redo = button('redo', 'Redo', 'Ctrl+Shift+Z', orders.redo)
    const views = planar ? [] : LAYOUTS
    views.forEach(([layout, label], k) => {
      const attributes = { type: 'button', title: `${label} (${k + 1})`, onclick: () => orders.arrange(layout) }
      this.layouts.set(layout, h('button', attributes, label))
    })
    this.element = h(
      'div',
      { class: 'moves' },
      turning && turns(turning),
      h('div', { class: 'group' }, this.undo, this.redo),
      h('div', { class: 'group layouts', role: 'group', 'aria-label': 'Views' }, ...this.layouts.values()),
      h(
        'div',
        { class: 'group' },
        button('save', 'Export', 'Ctrl+S', orders.export),
        button('report', 'Report', 'I', orders.report),
        button('help', 'Help', '?', orders.help),
      ),
    )
  }

  update(canUndo: boolean, canRedo: boolean, layout: Layout): void {
    this.undo.disabled = !canUndo
    this.redo.disabled = !canRedo
    for (const [one, element] of this.layouts) element.setAttribute('aria-pressed', String(one === layout))
  }
}

function turns(turning: Turning): HTMLElement {
  const { place, count } = turning
  const previous = button('previous', 'Previous scan', 'Shift+N', () => turning.turn(-1))
  const next = button('next', 'Next scan', 'N', () => turning.turn(1))
  previous.disabled = place === 0
  next.disabled = place === count - 1
  const label = `Scan ${place + 1} of ${count}: pick another`
  const pick = h(
    'button',
    { type: 'button', title: 'Pick a scan of the list', 'aria-label': label, onclick: () => turning.pick() },
    `${place + 1} / ${count}`,
  )
  return h('div', { class: 'group', role: 'group', 'aria-label': 'List of scans' }, previous, pick, next)
}

function button(sign: Icon, label: string, keys: string, run: () => void): HTMLButtonElement {
  const attributes = {
    type: 'button',
    class: 'icon-button',
    title: `${label} (${keys})`,
    'aria-label': label,
    onclick: run,
  }
  return h('button', attributes, icon(sign))
}
