// Controls of what is to be seen.

import { h } from '../elements/dom.ts'
import type { Preset, Window } from '../scan/volume.ts'
import type { Look, MapKind } from '../session/prefs.ts'

export interface Viewing {
  look(change: Partial<Look>): void
  window(window: Window): void
}

export interface Viewed {
  /** Whether the map that is asked for is to be had. */
  mapped: boolean
  look: Look
  presets: Preset[]
  window: Window
  /** Why uptake has no standardized values, in PET. */
  suvMissing: string | null
}

const MAPS: Record<MapKind, string> = {
  none: 'None',
  probability: 'Probability',
  uncertainty: 'Uncertainty',
  weights: 'Learnt from',
}

/** What is to be seen, and how: window, masks, maps. */
export function viewControls({ look, presets, window, mapped, suvMissing }: Viewed, wishes: Viewing): Node[] {
  const slider = (label: string, key: 'opacity' | 'mapOpacity') =>
    h(
      'label',
      { class: 'field' },
      h('span', {}, label),
      h('input', {
        type: 'range',
        min: 0,
        max: 1,
        step: 0.05,
        value: look[key],
        'data-key': key,
        oninput: (event: Event) => wishes.look({ [key]: (event.target as HTMLInputElement).valueAsNumber }),
      }),
    )
  const check = (label: string, key: 'crosshair' | 'smooth' | 'inverted') =>
    h(
      'label',
      { class: 'check' },
      h('input', {
        type: 'checkbox',
        checked: look[key],
        'data-key': key,
        onchange: (event: Event) => wishes.look({ [key]: (event.target as HTMLInputElement).checked }),
      }),
      label,
    )
  const known = presets.findIndex((one) => one.window.low === window.low && one.window.high === window.high)
  const number = (label: string, value: number, set: (value: number) => void) =>
    h(
      'label',
      { class: 'field' },
      h('span', {}, label),
      h('input', {
        type: 'number',
        value: round(value),
        step: 'any',
        'data-key': label,
        onchange: (event: Event) => set((event.target as HTMLInputElement).valueAsNumber),
      }),
    )
  return [
    h('h2', {}, 'View'),
    h(
      'label',
      { class: 'field' },
      h('span', {}, 'Window'),
      h(
        'select',
        {
          'data-key': 'window',
          onchange: (event: Event) => {
            const preset = presets[(event.target as HTMLSelectElement).selectedIndex]
            if (preset) wishes.window(preset.window)
          },
        },
        ...presets.map((preset, k) => h('option', { selected: k === known }, preset.name)),
        known < 0 && h('option', { selected: true, disabled: true }, 'By hand'),
      ),
    ),
    number('Level', (window.low + window.high) / 2, (level) =>
      wishes.window(centred(window, level, window.high - window.low)),
    ),
    number('Width', window.high - window.low, (width) =>
      wishes.window(centred(window, (window.low + window.high) / 2, width)),
    ),
    check('Inverted grey', 'inverted'),
    suvMissing && h('p', { class: 'hint' }, `No SUV: ${suvMissing}.`),
    slider('Mask fill', 'opacity'),
    h(
      'label',
      { class: 'field' },
      h('span', {}, 'Map'),
      h(
        'select',
        {
          'data-key': 'map',
          onchange: (event: Event) => wishes.look({ map: (event.target as HTMLSelectElement).value as MapKind }),
        },
        ...Object.entries(MAPS).map(([kind, label]) =>
          h('option', { value: kind, selected: kind === look.map }, label),
        ),
      ),
    ),
    look.map !== 'none' && slider('Map opacity', 'mapOpacity'),
    look.map !== 'none' && (mapped ? legend(look.map) : h('p', { class: 'hint' }, missing(look.map))),
    check('Crosshair', 'crosshair'),
    check('Smooth pixels', 'smooth'),
  ].filter((node): node is HTMLElement => Boolean(node))
}

/** Why there is no map to be seen. */
function missing(map: MapKind): string {
  return map === 'weights' ? 'Nothing was learnt yet: draw a stroke first.' : 'No object yet.'
}

function legend(map: Exclude<MapKind, 'none'>): HTMLElement {
  const ends = { probability: ['0', '1'], uncertainty: ['sure', 'unsure'], weights: ['left out', 'your strokes'] }[map]
  return h(
    'div',
    { class: `legend ${map}` },
    h('span', {}, ends[0]),
    h('span', { class: 'bar' }),
    h('span', {}, ends[1]),
  )
}

function centred(window: Window, level: number, width: number): Window {
  return { ...window, low: level - width / 2, high: level + width / 2 }
}

function round(value: number): number {
  return Number(value.toPrecision(5))
}
