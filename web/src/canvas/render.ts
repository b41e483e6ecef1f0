// The objects in 3D, as smooth surfaces under soft light. A worker makes and draws them: the page never waits for it.

import { h } from '../elements/dom.ts'
import type { Patch } from '../scan/patch.ts'
import type { Asked, News, Order, Piece } from '../surface/worker.ts'
import { rgb } from './colours.ts'
import type { Scene, Shown } from './scene.ts'

const TURN = 0.009 // radians for a CSS pixel
const STEP = 0.15 // radians for an arrow key
const STEEPEST = Math.PI / 2
const ZOOM = { least: 0.3, most: 12 }
const RESTING = 180 // milliseconds after which a turned picture is drawn finely
const FIRST = { turn: 0.45, tilt: 0.3, zoom: 1 }

/** What is to be seen of a list of objects is one surface for each, whatever parts it has. */
interface Group {
  colour: string
  masks: Patch[]
}

export class Render {
  readonly element: HTMLElement
  readonly canvas = h('canvas', { 'aria-label': '3D: drag to turn it, wheel to zoom', role: 'img', tabindex: 0 })
  private readonly hint = h('p', { class: 'empty' }, 'Objects appear here in 3D.')
  private readonly worker = new Worker(new URL('../surface/worker.ts', import.meta.url), { type: 'module' })
  private readonly names = new WeakMap<Patch, number>()
  private readonly observer: ResizeObserver
  private count = 0
  private number = 0
  private wanted = 0
  private known = new Set<string>()
  private shown = ''
  private last: readonly Shown[] = []
  private asked = 0
  private timer = 0
  private camera = { ...FIRST }
  private held: [number, number] | null = null

  /** `enlarged`: a double click asks for all of the room, or for less again. */
  constructor(scene: Scene, enlarged: () => void) {
    this.element = h('div', { class: 'pane render' }, this.canvas, this.hint)
    this.send({ kind: 'scan', spacing: scene.volume.spacing })
    const context = this.canvas.getContext('bitmaprenderer')
    this.worker.onmessage = ({ data }: MessageEvent<News>) => {
      if (!('picture' in data)) this.drawn(data)
      else if (context) {
        const { width, height } = data.picture
        if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height })
        context.transferFromImageBitmap(data.picture)
      }
    }
    this.observer = new ResizeObserver(() => this.look(false))
    this.observer.observe(this.element)
    this.canvas.addEventListener('dblclick', enlarged)
    this.listen()
  }

  /** Show objects, as soon as there are surfaces of them. */
  show(objects: readonly Shown[]): void {
    this.last = objects
    const groups = new Map<string, Group>()
    for (const { root, colour, mask, before } of objects) {
      const key = before ? `${root} before` : root
      const group = groups.get(key) ?? { colour, masks: [] }
      group.masks.push(mask)
      groups.set(key, group)
    }
    const list = [...groups.values()].map(({ colour, masks }) => ({ key: this.keyOf(masks), colour, masks }))
    const shown = list.map(({ key, colour }) => `${key} ${colour}`).join(', ')
    this.hint.hidden = list.length > 0
    if (shown === this.shown) return
    this.shown = shown
    this.number++
    this.wanted = list.length
    this.asked = performance.now()
    const asked = list.map(
      ({ key, colour, masks }): Asked => ({
        key,
        colour: rgb(colour),
        ...(this.known.has(key) ? {} : { pieces: masks.map(pieceOf) }),
      }),
    )
    this.send({ kind: 'show', objects: asked, number: this.number })
  }

  close(): void {
    this.observer.disconnect()
    window.clearTimeout(this.timer)
    this.worker.terminate()
  }

  private drawn({ number, keys }: { number: number; keys: string[] }): void {
    this.known = new Set(keys)
    if (number !== this.number) return
    if (keys.length < this.wanted) {
      // the worker had forgotten one meanwhile
      this.known.clear()
      this.shown = ''
      this.show(this.last)
      return
    }
    performance.measure('bifseg-surface', { start: this.asked, end: performance.now() })
    this.canvas.dataset.drawn = String(number)
  }

  private keyOf(masks: Patch[]): string {
    return masks
      .map((mask) => {
        const name = this.names.get(mask) ?? ++this.count
        this.names.set(mask, name)
        return name
      })
      .join(' ')
  }

  private send(order: Order): void {
    this.worker.postMessage(order)
  }

  /** `moving`: fast rather than fine; what rests is drawn finely after a moment. */
  private look(moving: boolean): void {
    window.clearTimeout(this.timer)
    const ratio = window.devicePixelRatio || 1
    const [width, height] = [this.element.clientWidth * ratio, this.element.clientHeight * ratio].map(Math.round)
    if (!width || !height) return
    this.send({ kind: 'look', ...this.camera, width, height, moving })
    if (moving) this.timer = window.setTimeout(() => this.look(false), RESTING)
  }

  private turn(dx: number, dy: number): void {
    this.camera.turn += dx
    this.camera.tilt = Math.max(-STEEPEST, Math.min(STEEPEST, this.camera.tilt + dy))
    this.look(true)
  }

  private listen(): void {
    const { canvas } = this
    canvas.addEventListener('pointerdown', (event) => {
      this.held = [event.offsetX, event.offsetY]
      canvas.setPointerCapture(event.pointerId)
    })
    canvas.addEventListener('pointermove', (event) => {
      if (!this.held) return
      const [x, y] = this.held
      this.held = [event.offsetX, event.offsetY]
      this.turn((event.offsetX - x) * TURN, (event.offsetY - y) * TURN)
    })
    for (const end of ['pointerup', 'pointercancel'] as const) {
      canvas.addEventListener(end, () => {
        this.held = null
      })
    }
    canvas.addEventListener('wheel', (event) => {
      event.preventDefault()
      const zoom = this.camera.zoom * Math.exp(-event.deltaY * 0.0015)
      this.camera.zoom = Math.max(ZOOM.least, Math.min(ZOOM.most, zoom))
      this.look(true)
    })
    canvas.addEventListener('keydown', (event) => {
      const step = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[
        event.key
      ]
      if (event.key === '0') Object.assign(this.camera, FIRST)
      else if (!step) return
      event.preventDefault()
      event.stopPropagation() // the page's own keys move the crosshair
      this.turn(step?.[0] ?? 0, step?.[1] ?? 0)
    })
  }
}

function pieceOf(mask: Patch): Piece {
  const { start, stop } = mask.box
  return { start, stop, ...mask.strides, data: mask.data }
}
