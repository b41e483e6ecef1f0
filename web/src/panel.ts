// The panel beside the slices: objects, what fine-tuning just did, the box, and what is to be seen.

import type { Measure, ObjectInfo } from './api.ts'
import type { Box } from './axes.ts'
import { NAMES, PALETTE } from './colours.ts'
import { h } from './dom.ts'
import { type Icon, icon } from './icons.ts'
import type { Model } from './model.ts'
import type { Look, MapKind, Seen } from './prefs.ts'
import type { Preset } from './volume.ts'

/** What the panel can be asked for; objects by their names. */
export interface Wishes {
  select(name: string): void
  rename(name: string): void
  remove(name: string): void
  hide(name: string): void
  lock(name: string): void
  recolour(name: string): void
  propagate(step: 1 | -1): void
  lookNext(): void
  refine(): void
  begin(): void
  discard(): void
  typed(box: Box): void
  look(change: Partial<Look>): void
  window(low: number, high: number): void
}

/** What it shows beside the model. */
export interface Surroundings {
  look: Look
  seen: Seen
  presets: Preset[]
  window: { low: number; high: number }
  draft: Box | null
  measures: Map<string, Measure>
}

const MAPS: Record<MapKind, string> = {
  none: 'None',
  probability: 'Probability',
  uncertainty: 'Uncertainty',
  weights: 'Weights of fine-tuning',
}

export class Panel {
  private readonly adaptation = h('section', { class: 'card adaptation', 'aria-label': 'Adaptation', hidden: true })
  private readonly draft = h('section', { class: 'card draft', 'aria-label': 'Box to be', hidden: true })
  private readonly objects = h('section', { class: 'objects', 'aria-label': 'Objects' })
  private readonly box = h('section', { class: 'box', 'aria-label': 'Box' })
  private readonly view = h('section', { class: 'view', 'aria-label': 'View' })
  readonly element = h('aside', { class: 'panel' }, this.draft, this.adaptation, this.objects, this.box, this.view)
  private readonly built = new Map<HTMLElement, string>()

  constructor(
    private readonly model: Model,
    private readonly around: () => Surroundings,
    private readonly wishes: Wishes,
  ) {}

  update(): void {
    const { model } = this
    const around = this.around()
    const { look, seen, draft, window } = around
    const measured = [...around.measures.values()]
    this.keep(this.objects, [model.state.objects, model.state.current, seen, measured, !model.busy], () =>
      this.objectList(around),
    )
    const { adaptation } = model
    this.adaptation.hidden = !adaptation
    this.keep(this.adaptation, adaptation && { ...adaptation, before: 0, strokes: 0 }, () => this.adaptationCard())
    this.draft.hidden = !draft
    this.keep(this.draft, [draft], () => this.draftCard(draft))
    this.keep(this.box, [model.current?.box, draft], () => this.boxFields(draft))
    this.keep(this.view, [look, window, model.current?.name, Boolean(adaptation)], () => this.viewFields(around))
  }

  /** Build a section anew only where what it shows has changed; what has the focus keeps it. */
  private keep(section: HTMLElement, shown: unknown, build: () => Node[]): void {
    const key = JSON.stringify(shown)
    if (this.built.get(section) === key) return
    this.built.set(section, key)
    const focused = section.contains(document.activeElement) ? document.activeElement?.getAttribute('data-key') : null
    section.replaceChildren(...build())
    if (focused) section.querySelector<HTMLElement>(`[data-key="${CSS.escape(focused)}"]`)?.focus()
  }

  // ---- objects

  private objectList({ seen, measures }: Surroundings): Node[] {
    const { model } = this
    const heading = h('h2', {}, 'Objects')
    if (!model.roots.length) {
      return [heading, h('p', { class: 'hint' }, 'None yet. Choose Box and draw one around something.')]
    }
    const rows = model.roots.map((object, k) => this.row(object, k, seen, measures.get(object.name)))
    return [heading, h('ul', { class: 'rows' }, ...rows), ...this.actions()]
  }

  private row(object: ObjectInfo, k: number, seen: Seen, measure: Measure | undefined): HTMLElement {
    const { model, wishes } = this
    const { name } = object
    const parts = model.partsOf(name)
    const current = model.current && model.rootOf(model.current) === name
    const colour = seen.colours[name] ?? k % PALETTE.length
    const hidden = seen.hidden.includes(name)
    const locked = seen.locked.includes(name) || !current
    const button = (sign: Icon, label: string, run: () => void, pressed?: boolean) =>
      h(
        'button',
        {
          type: 'button',
          class: 'icon-button',
          'aria-label': `${label} ${name}`,
          title: label,
          'aria-pressed': pressed === undefined ? undefined : String(pressed),
          'data-key': `${label} ${name}`,
          onclick: run,
        },
        icon(sign),
      )
    const size = measure ? `${ml(measure.ml)} · ⌀ ${measure.diameter_mm.toFixed(1)} mm` : `${voxels(parts)} voxels`
    return h(
      'li',
      { class: current ? 'row current' : 'row' },
      h('button', {
        type: 'button',
        class: `swatch colour-${colour}`,
        'aria-label': `Colour of ${name}: ${NAMES[colour]}; change it`,
        title: 'Another colour',
        'data-key': `colour ${name}`,
        onclick: () => wishes.recolour(name),
      }),
      h(
        'button',
        {
          type: 'button',
          class: 'name',
          'aria-current': current ? 'true' : undefined,
          'data-key': `select ${name}`,
          title: current ? 'Worked on' : 'Work on it',
          onclick: () => wishes.select(name),
        },
        h('span', { class: 'title' }, name),
        h('span', { class: 'size' }, parts.length > 1 ? `${parts.length} slices · ${size}` : size),
      ),
      button(hidden ? 'hidden' : 'eye', hidden ? 'Show' : 'Hide', () => wishes.hide(name), hidden),
      button(locked ? 'lock' : 'unlock', locked ? 'Unlock' : 'Lock', () => wishes.lock(name), locked),
      button('edit', 'Rename', () => wishes.rename(name)),
      button('remove', 'Remove', () => wishes.remove(name)),
    )
  }

  private actions(): Node[] {
    const { model, wishes } = this
    if (!model.current) return []
    const idle = !model.busy
    const action = (label: string, title: string, run: () => void) =>
      h('button', { type: 'button', title, disabled: !idle, 'data-key': label, onclick: run }, label)
    const buttons = [
      action('Look here next', 'Go to where the network is least sure (U)', () => wishes.lookNext()),
      action('Refine on', 'Go on fine-tuning with the scribbles there are', () => wishes.refine()),
    ]
    if (model.planeAxis !== null && !model.image.planar) {
      buttons.push(
        action('◂ Previous slice', 'Carry box and adapted network to the slice before (,)', () => wishes.propagate(-1)),
        action('Next slice ▸', 'Carry box and adapted network to the next slice (.)', () => wishes.propagate(1)),
      )
    }
    return [h('div', { class: 'actions' }, ...buttons)]
  }

  // ---- cards

  private adaptationCard(): Node[] {
    const { adaptation } = this.model
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
          onchange: () => this.model.show(which),
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
            onclick: () => this.model.accept(),
          },
          'Keep',
        ),
        h(
          'button',
          { type: 'button', title: 'Reject (R)', 'data-key': 'reject', onclick: () => this.model.reject() },
          'Reject',
        ),
      ),
    ]
  }

  private draftCard(draft: Box | null): Node[] {
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
            onclick: () => this.wishes.begin(),
          },
          'Segment',
        ),
        h(
          'button',
          { type: 'button', title: 'Discard (Esc)', 'data-key': 'discard', onclick: () => this.wishes.discard() },
          'Discard',
        ),
      ),
    ]
  }

  /** The box in numbers, voxels of the file counted from 0: for keyboards, and for who has them from elsewhere. */
  private boxFields(draft: Box | null): Node[] {
    const canonical = draft ?? this.model.box
    if (!canonical) return []
    const box = this.model.axes.boxToFile(canonical)
    const inputs = ([0, 1, 2] as const).map((k) => {
      const field = (which: 'first' | 'last', value: number) =>
        h('input', {
          type: 'number',
          min: 0,
          max: this.model.image.shape[k] - 1,
          value,
          step: 1,
          required: true,
          'aria-label': `${which} voxel along ${'xyz'[k]}`,
          'data-key': `${which} ${k}`,
        })
      return [field('first', box.start[k]), field('last', box.stop[k] - 1)] as const
    })
    const rows = inputs.map(([first, last], k) =>
      h('div', { class: 'range' }, h('span', {}, 'xyz'[k]), first, '–', last),
    )
    const typed = (event: Event) => {
      event.preventDefault()
      const values = inputs.map((pair) => pair.map((input) => input.valueAsNumber))
      const at = (k: number, i: number) => values[k]?.[i] ?? 0
      this.wishes.typed({ start: [at(0, 0), at(1, 0), at(2, 0)], stop: [at(0, 1) + 1, at(1, 1) + 1, at(2, 1) + 1] })
    }
    return [
      h(
        'details',
        {},
        h('summary', {}, 'Box in voxels'),
        h(
          'form',
          { onsubmit: typed },
          ...rows,
          h('button', { type: 'submit', 'data-key': 'typed' }, draft ? 'Move the box' : 'Use this box'),
        ),
      ),
    ]
  }

  // ---- view

  private viewFields({ look, presets, window }: Surroundings): Node[] {
    const { wishes } = this
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
    const check = (label: string, key: 'crosshair' | 'smooth') =>
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
              if (preset) wishes.window(preset.window.low, preset.window.high)
            },
          },
          ...presets.map((preset, k) => h('option', { selected: k === known }, preset.name)),
          known < 0 && h('option', { selected: true, disabled: true }, 'By hand'),
        ),
      ),
      number('Level', (window.low + window.high) / 2, (level) =>
        wishes.window(level - (window.high - window.low) / 2, level + (window.high - window.low) / 2),
      ),
      number('Width', window.high - window.low, (width) =>
        wishes.window((window.low + window.high - width) / 2, (window.low + window.high + width) / 2),
      ),
      slider('Fill of masks', 'opacity'),
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
      look.map !== 'none' && slider('Opacity of the map', 'mapOpacity'),
      look.map !== 'none' && this.legend(look.map),
      check('Crosshair', 'crosshair'),
      check('Smooth pixels', 'smooth'),
    ].filter((node): node is HTMLElement => Boolean(node))
  }

  private legend(map: Exclude<MapKind, 'none'>): HTMLElement {
    const ends = { probability: ['0', '1'], uncertainty: ['sure', '1 bit'], weights: ['0: left out', 'scribble'] }[map]
    return h(
      'div',
      { class: `legend ${map}` },
      h('span', {}, ends[0]),
      h('span', { class: 'bar' }),
      h('span', {}, ends[1]),
    )
  }
}

function voxels(objects: ObjectInfo[]): string {
  return objects.reduce((sum, object) => sum + object.voxels, 0).toLocaleString('en')
}

function ml(volume: number): string {
  return `${volume >= 100 ? volume.toFixed(0) : volume >= 1 ? volume.toFixed(1) : volume.toPrecision(2)} ml`
}

/** A duration for people. */
export function time(seconds: number): string {
  return seconds < 1 ? `${Math.max(1, Math.round(1000 * seconds))} ms` : `${seconds.toFixed(1)} s`
}

function round(value: number): number {
  return Number(value.toPrecision(5))
}
