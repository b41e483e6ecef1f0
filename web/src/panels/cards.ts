// Cards that ask for a decision.

import { h } from '../elements/dom.ts'
import type { Box } from '../scan/axes.ts'
import { lost } from '../session/conflict.ts'
import type { Model } from '../session/model.ts'
import { time } from './status.ts'

/** What fine-tuning did, to be seen, kept or rejected. */
export function adaptationCard(model: Model): Node[] {
  const { adaptation } = model
  if (!adaptation) return []
  const { showing, changed, rounds, seconds, strokes } = adaptation
  const choice = (which: 'before' | 'after', label: string) =>
    h(
      'label',
      {},
      h('input', {
        type: 'radio',
        name: 'showing',
        checked: showing === which,
        'data-key': which,
        onchange: () => model.show(which),
      }),
      label,
    )
  const also = strokes.length ? ' Reject keeps what you painted, and nothing else.' : ''
  return [
    h('h2', {}, 'Adapted to this image'),
    h(
      'p',
      {},
      `${changed.toLocaleString('en')} voxels changed in ${rounds} ${rounds === 1 ? 'round' : 'rounds'}, ${time(seconds)}.${also}`,
    ),
    h(
      'fieldset',
      { class: 'switch' },
      h('legend', { class: 'unseen' }, 'Show the mask'),
      choice('before', 'Before'),
      choice('after', 'After'),
    ),
    h(
      'div',
      { class: 'actions' },
      h(
        'button',
        {
          type: 'button',
          class: 'primary',
          title: 'Keep (Enter)',
          'data-key': 'keep',
          onclick: () => model.accept(),
        },
        'Keep',
      ),
      h(
        'button',
        { type: 'button', title: 'Reject (R)', 'data-key': 'reject', onclick: () => model.reject() },
        'Reject',
      ),
    ),
  ]
}

/** What was not done, since somebody else was faster. */
export function conflictCard(model: Model): Node[] {
  const { conflict } = model
  if (!conflict) return []
  return [
    h('h2', {}, 'Changed by someone else'),
    h('p', {}, `${conflict.news} ${lost(conflict)}`),
    h(
      'div',
      { class: 'actions' },
      h(
        'button',
        { type: 'button', class: 'primary', 'data-key': 'again', onclick: () => model.again() },
        'Do it all the same',
      ),
      h('button', { type: 'button', 'data-key': 'drop', onclick: () => model.drop() }, 'Leave it'),
    ),
  ]
}

/** A box in 3D that is not segmented yet. */
export function draftCard(draft: Box | null, wishes: { begin(): void; discard(): void }): Node[] {
  if (!draft) return []
  return [
    h('h2', {}, 'A box in 3D'),
    h('p', {}, 'Draw it in a second view, or pull its handles; then segment.'),
    h(
      'div',
      { class: 'actions' },
      h(
        'button',
        {
          type: 'button',
          class: 'primary',
          title: 'Segment (Enter)',
          'data-key': 'segment',
          onclick: () => wishes.begin(),
        },
        'Segment',
      ),
      h(
        'button',
        { type: 'button', title: 'Discard (Esc)', 'data-key': 'discard', onclick: () => wishes.discard() },
        'Discard',
      ),
    ),
  ]
}
