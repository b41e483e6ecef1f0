// The panel beside the slices: objects, the box, and what is to be seen.

import { NAMES } from '../canvas/colours.ts'
import { h } from '../elements/dom.ts'
import { type Icon, icon } from '../elements/icons.ts'
import { ALL, type Box, parseBox } from '../scan/axes.ts'
import type { MeasureInfo, ObjectInfo } from '../server/types.ts'
import type { Model } from '../session/model.ts'
import { colourOf, type Seen } from '../session/prefs.ts'
import type { Tasks } from '../session/tasks.ts'
import { type Measuring, measurementList, type Read } from './measurements.ts'
import { type Teaching, taskPart } from './tasks.ts'
import { type Viewed, type Viewing, viewControls } from './viewing.ts'

/** What the panel can be asked for; objects by their names. */
export interface Wishes extends Viewing, Measuring, Teaching {
  select(name: string): void
  rename(name: string): void
  remove(name: string): void
  hide(name: string): void
  lock(name: string): void
  recolour(name: string): void
  propagate(step: 1 | -1): void
  /** Through a range that is asked for, or until the object ends. */
  carry(range: boolean): void
  interpolate(): void
  /** What becomes of small holes and islands of the object worked on. */
  tidy(rules: { fill_holes?: boolean; drop_islands?: boolean }): void
  lookNext(): void
  refine(): void
  typed(box: Box): void
}

/** What it shows beside the model. */
export interface Surroundings extends Viewed {
  seen: Seen
  draft: Box | null
  measurements: Read[]
  measures: Map<string, MeasureInfo>
}

const SEARCHED = 20 // objects from which on there is a search

export class Panel {
  private readonly objects = h('section', { class: 'objects', 'aria-label': 'Objects' })
  private readonly task = h('section', { class: 'teaching', 'aria-label': 'Task' })
  private readonly box = h('section', { class: 'box', 'aria-label': 'Box' })
  private readonly measurements = h('section', { class: 'measurements', 'aria-label': 'Measured' })
  private readonly view = h('section', { class: 'view', 'aria-label': 'View' })
  readonly element = h('aside', { class: 'panel' }, this.objects, this.task, this.measurements, this.box, this.view)
  private sought = ''
  private readonly built = new Map<HTMLElement, string>()
  /** Rules that were switched, until it is known what came of it. */
  private ruled: { fill_holes?: boolean; drop_islands?: boolean } = {}
  /** What had the focus when it could no longer be used, which lasts as long as something is computed. */
  private left: string | null = null

  constructor(
    private readonly model: Model,
    private readonly planar: boolean,
    private readonly tasks: Tasks,
    private readonly around: () => Surroundings,
    private readonly wishes: Wishes,
  ) {}

  update(): void {
    const { model } = this
    const around = this.around()
    const { look, seen, draft, window } = around
    if (!model.busy) this.ruled = {}
    const measured = [...around.measures.values()]
    this.keep(this.objects, [model.state.objects, model.state.current, seen, measured, !model.busy], () =>
      this.objectList(around),
    )
    const { tasks } = this
    const dimension = this.planar || (model.current ? model.planeAxis !== null : look.dimension === 2) ? 2 : 3
    this.keep(this.task, [tasks.list, tasks.chosen, tasks.adding, model.current, dimension, !model.busy], () =>
      taskPart(tasks, model, dimension, this.wishes),
    )
    this.keep(this.box, [model.current?.box, draft], () => this.boxFields(draft))
    this.keep(this.measurements, around.measurements, () => measurementList(around.measurements, this.wishes))
    this.keep(this.view, [look, window, around.mapped], () => viewControls(around, this.wishes))
  }

  /** Build a section anew only where what it shows has changed; what has the focus keeps it, and what is selected. */
  private keep(section: HTMLElement, shown: unknown, build: () => Node[]): void {
    const key = JSON.stringify(shown)
    if (this.built.get(section) === key) return
    this.built.set(section, key)
    const active = section.contains(document.activeElement) ? document.activeElement : null
    const nowhere = document.activeElement === document.body && section === this.objects
    const focused = active?.getAttribute('data-key') ?? (nowhere ? this.left : null)
    const typed = active instanceof HTMLInputElement ? active : { selectionStart: null, selectionEnd: null }
    const { selectionStart, selectionEnd } = typed // null of what is no text
    section.replaceChildren(...build())
    if (!focused) return
    const again = section.querySelector<HTMLElement>(`[data-key="${CSS.escape(focused)}"]`)
    again?.focus()
    this.left = again?.matches(':disabled') ? focused : null
    if (again instanceof HTMLInputElement && selectionStart !== null) {
      again.setSelectionRange(selectionStart, selectionEnd)
    }
  }

  // ---- objects

  private objectList({ seen, measures }: Surroundings): Node[] {
    const { model } = this
    const heading = h('h2', {}, 'Objects')
    if (!model.roots.length) {
      return [
        heading,
        h('p', { class: 'hint' }, 'None yet. Choose Box and draw one around something, or paint it (Shift+P).'),
      ]
    }
    const rows = model.roots.map((object, k) => this.row(object, k, seen, measures.get(object.name)))
    const list = h('ul', { class: 'rows' }, ...rows)
    if (rows.length < SEARCHED) return [heading, list, ...this.actions()]
    return [heading, this.search(list), list, ...this.actions()]
  }

  /** A field that leaves of a long list what its words are in; the object worked on always stays. */
  private search(list: HTMLElement): HTMLElement {
    const input = h('input', {
      type: 'search',
      value: this.sought,
      placeholder: `Search ${this.model.roots.length} objects`,
      'aria-label': 'Search the objects',
      'data-key': 'search',
      oninput: () => {
        this.sought = input.value
        sieve()
      },
    })
    const sieve = () => {
      const words = this.sought.toLowerCase().split(/\s+/)
      for (const row of list.children) {
        const name = row.querySelector('.title')?.textContent?.toLowerCase() ?? ''
        row.toggleAttribute('hidden', !row.matches('.current') && !words.every((word) => name.includes(word)))
      }
    }
    sieve()
    return input
  }

  private row(object: ObjectInfo, k: number, seen: Seen, measure: MeasureInfo | undefined): HTMLElement {
    const { model, wishes } = this
    const { name } = object
    const parts = model.partsOf(name)
    const current = model.current && model.rootOf(model.current) === name
    const colour = colourOf(seen, name, k)
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
    const size = (measure && sizeOf(measure)) || `${voxels(parts)} ${this.planar ? 'pixels' : 'voxels'}`
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
      action('Learn more', 'Learn more from the strokes there are (Shift+R)', () => wishes.refine()),
    ]
    if (model.planeAxis !== null && !this.planar) {
      buttons.push(
        action('◂ Previous slice', 'Carry box and adapted network to the slice before (,)', () => wishes.propagate(-1)),
        action('Next slice ▸', 'Carry box and adapted network to the next slice (.)', () => wishes.propagate(1)),
        action('Until it ends', 'Carry it through all slices that it goes on in, both ways', () => wishes.carry(false)),
        action('Range …', 'Carry it through slices that you name', () => wishes.carry(true)),
      )
    }
    if (this.gaps) {
      buttons.push(action('Fill between', 'Shapes for the slices between those drawn', () => wishes.interpolate()))
    }
    return [h('div', { class: 'actions' }, ...buttons), this.rules(model.current, idle)]
  }

  /** The rules of the object worked on, for all its slices; of what an older version made, nobody knows them. */
  private rules({ tidy }: ObjectInfo, idle: boolean): HTMLElement {
    const rule = (key: 'fill_holes' | 'drop_islands', label: string, title: string) => {
      const input = h('input', {
        type: 'checkbox',
        checked: this.ruled[key] ?? Boolean(tidy?.[key]),
        disabled: !idle,
        'data-key': key,
        onchange: () => {
          this.ruled = { [key]: input.checked }
          this.wishes.tidy(this.ruled)
        },
      })
      input.indeterminate = !tidy && this.ruled[key] === undefined
      return h('label', { class: 'check', title }, input, label)
    }
    return h(
      'div',
      { class: 'switch' },
      rule('fill_holes', 'Fill holes', 'Small holes in the mask are filled, but for those with a “not it” stroke'),
      rule('drop_islands', 'Drop small islands', 'Small pieces of the mask go, but for those with an “object” stroke'),
    )
  }

  /** Whether there are slices without a part between those that the object has parts in. */
  private get gaps(): boolean {
    const { model } = this
    const axis = model.planeAxis
    if (axis === null || !model.current) return false
    const drawn = model.partsOf(model.rootOf(model.current)).map((part) => parseBox(part.box).start[axis])
    return Math.max(...drawn) - Math.min(...drawn) >= new Set(drawn).size
  }

  // ---- the box

  /** The box in numbers, voxels of the file counted from 0: for keyboards, and for who has them from elsewhere. */
  private boxFields(draft: Box | null): Node[] {
    const canonical = draft ?? this.model.box
    if (!canonical) return []
    const box = this.model.axes.boxToFile(canonical)
    const inputs = ALL.map((k) => {
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
}

function voxels(objects: ObjectInfo[]): string {
  return objects.reduce((sum, object) => sum + object.voxels, 0).toLocaleString('en')
}

/** Volume or area, and diameter; empty where nobody knows how large a voxel is. */
function sizeOf({
  ml: volume,
  area_mm2: area,
  diameter_mm: diameter,
  diameter_px: pixels,
  voxels,
}: MeasureInfo): string {
  if (diameter === null) return pixels === null ? '' : `${voxels.toLocaleString('en')} px · ⌀ ${pixels.toFixed(0)} px`
  const extent = volume === null ? `${(area ?? 0).toPrecision(3)} mm²` : ml(volume)
  return `${extent} · ⌀ ${diameter.toFixed(1)} mm`
}

function ml(volume: number): string {
  return `${volume >= 100 ? volume.toFixed(0) : volume >= 1 ? volume.toFixed(1) : volume.toPrecision(2)} ml`
}
