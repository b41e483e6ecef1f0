// The rulers and angles of a scan, to go to and to remove.

import { PLANE_NAMES } from '../canvas/scene.ts'
import { h } from '../elements/dom.ts'
import { icon } from '../elements/icons.ts'
import type { Gauge } from '../scan/gauge.ts'

export interface Gauging {
  goTo(gauge: Gauge): void
  removeGauge(gauge: Gauge): void
  removeGauges(): void
}

/** A gauge, what it says, and where it is. */
export interface Read {
  gauge: Gauge
  said: string
  /** The number of its slice; null in a picture. */
  slice: number | null
}

export function gaugeList(read: Read[], wishes: Gauging): Node[] {
  if (!read.length) return []
  const rows = read.map(({ gauge, said, slice }, k) => {
    const where = slice === null ? '' : `${PLANE_NAMES[gauge.plane]} ${slice}`
    return h(
      'li',
      { class: 'row' },
      h(
        'button',
        {
          type: 'button',
          class: 'name',
          title: 'Go there',
          'data-key': `gauge ${k}`,
          onclick: () => wishes.goTo(gauge),
        },
        h('span', { class: 'title' }, said),
        h('span', { class: 'size' }, where),
      ),
      h(
        'button',
        {
          type: 'button',
          class: 'icon-button',
          title: 'Remove',
          'aria-label': `Remove ${said}`,
          'data-key': `remove gauge ${k}`,
          onclick: () => wishes.removeGauge(gauge),
        },
        icon('remove'),
      ),
    )
  })
  const all = h(
    'button',
    { type: 'button', 'data-key': 'no gauges', onclick: () => wishes.removeGauges() },
    'Remove all',
  )
  return [
    h('h2', {}, 'Measured'),
    h('ul', { class: 'rows' }, ...rows),
    ...(read.length > 1 ? [h('div', { class: 'actions' }, all)] : []),
  ]
}
