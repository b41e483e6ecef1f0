// The tools, and what can be chosen for the one in hand.

import { h } from '../elements/dom.ts'
import { icon } from '../elements/icons.ts'
import type { Look } from '../session/prefs.ts'
import type { Tool, Tools } from './gestures.ts'

/** Each tool, what it is called, and its key. */
export const TOOLS: [Tool, string, string][] = [
  ['navigate', 'Navigate', 'V'],
  ['box', 'Box', 'B'],
  ['brush', 'Brush', 'P'],
  ['line', 'Line', 'L'],
  ['click', 'Click', 'C'],
  ['erase', 'Eraser', 'E'],
  ['ruler', 'Ruler', 'W'],
  ['angle', 'Angle', 'A'],
]
const PAINTING: Tool[] = ['brush', 'line', 'click']

export interface Choices {
  pick(tool: Tool): void
  paint(label: 1 | 2): void
  resizeBrush(step: 1 | -1): void
  dimension(dimension: 2 | 3): void
}

export class Toolbar {
  readonly element = h('div', {
    class: 'tools',
    role: 'toolbar',
    'aria-label': 'Tools',
    'aria-orientation': 'vertical',
  })
  private shown = ''

  constructor(
    private readonly tools: Tools,
    private readonly look: Look,
    private readonly planar: boolean,
    /** Millimetres of the finest voxel; null where nobody knows them. */
    private readonly finest: number | null,
    private readonly choices: Choices,
  ) {}

  update(): void {
    const { tool, label, radius } = this.tools
    const shown = `${tool} ${label} ${radius} ${this.look.dimension}`
    if (shown === this.shown) return
    this.shown = shown
    const { activeElement } = document
    const focused = this.element.contains(activeElement) ? activeElement?.getAttribute('data-key') : null
    this.element.replaceChildren(...TOOLS.map((one) => this.button(...one)), ...this.options())
    if (focused) this.element.querySelector<HTMLElement>(`[data-key="${focused}"]`)?.focus()
  }

  private button(tool: Tool, title: string, shortcut: string): HTMLElement {
    const attributes = {
      type: 'button',
      title: `${title} (${shortcut})`,
      'aria-pressed': String(tool === this.tools.tool),
      'data-key': tool,
      onclick: () => this.choices.pick(tool),
    }
    return h('button', attributes, icon(tool), h('span', {}, title))
  }

  private options(): HTMLElement[] {
    const { tool, label } = this.tools
    const { choices, look } = this
    const options: HTMLElement[] = []
    if (tool === 'box' && !this.planar) {
      options.push(
        group('Dimension', '')(
          choice('two', '2D', 'A box in one slice (D)', look.dimension === 2, () => choices.dimension(2)),
          choice('three', '3D', 'A box in the volume (D)', look.dimension === 3, () => choices.dimension(3)),
        ),
      )
    }
    if (PAINTING.includes(tool)) {
      options.push(
        group('What is painted', '')(
          choice('foreground', 'Object', 'Foreground (F)', label === 1, () => choices.paint(1)),
          choice('background', 'Not it', 'Background (G)', label === 2, () => choices.paint(2)),
        ),
      )
    }
    if (PAINTING.includes(tool) || tool === 'erase') {
      options.push(
        group('Size of the brush', 'size')(
          choice('smaller', '−', 'Smaller ([)', null, () => choices.resizeBrush(-1)),
          h('output', {}, this.diameter()),
          choice('larger', '+', 'Larger (])', null, () => choices.resizeBrush(1)),
        ),
      )
    }
    return options
  }

  private diameter(): string {
    const { radius } = this.tools
    if (radius === 0) return this.planar ? '1 pixel' : '1 voxel'
    if (this.finest === null) return `${2 * radius} ${this.planar ? 'px' : 'voxels'}`
    const millimetres = 2 * radius * this.finest
    return `${millimetres < 10 ? millimetres.toFixed(1) : millimetres.toFixed(0)} mm`
  }
}

function group(label: string, kind: string): (...children: Node[]) => HTMLElement {
  return (...children) => h('div', { class: `options ${kind}`, role: 'group', 'aria-label': label }, ...children)
}

function choice(key: string, text: string, title: string, chosen: boolean | null, run: () => void): HTMLElement {
  const pressed = chosen === null ? null : String(chosen)
  return h(
    'button',
    { type: 'button', class: `choice ${key}`, title, 'aria-pressed': pressed, 'data-key': key, onclick: run },
    text,
  )
}
