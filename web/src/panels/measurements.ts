// The rulers and angles of a scan, to go to and to remove.

import { PLANE_NAMES } from '../canvas/scene.ts'
import { h } from '../elements/dom.ts'
import { icon } from '../elements/icons.ts'
import type { Measurement } from '../scan/measurement.ts'

export interface Measuring {
  goTo(measurement: Measurement): void
  removeMeasurement(measurement: Measurement): void
  removeMeasurements(): void
}

/** A measurement, what it says, and where it is. */
export interface Read {
  measurement: Measurement
  said: string
  /** The number of its slice; null in a picture. */
  slice: number | null
}

export function measurementList(read: Read[], wishes: Measuring): Node[] {
  if (!read.length) return []
  const rows = read.map(({ measurement, said, slice }, k) => {
    const where = slice === null ? '' : `${PLANE_NAMES[measurement.plane]} ${slice}`
    return h(
      'li',
      { class: 'row' },
      h(
        'button',
        {
          type: 'button',
          class: 'name',
          title: 'Go there',
          'data-key': `measurement ${k}`,
          onclick: () => wishes.goTo(measurement),
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
          'data-key': `remove measurement ${k}`,
          onclick: () => wishes.removeMeasurement(measurement),
        },
        icon('remove'),
      ),
    )
  })
  const all = h(
    'button',
    { type: 'button', 'data-key': 'no measurements', onclick: () => wishes.removeMeasurements() },
    'Remove all',
  )
  return [
    h('h2', {}, 'Measured'),
    h('ul', { class: 'rows' }, ...rows),
    ...(read.length > 1 ? [h('div', { class: 'actions' }, all)] : []),
  ]
}
