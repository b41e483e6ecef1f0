// Hands on the slices: mouse, pen and fingers become places, windows, boxes and strokes.

import type { Grip, Pane } from '../canvas/pane.ts'
import { PLANE_NAMES } from '../canvas/scene.ts'
import type { Stage } from '../canvas/stage.ts'
import { type Box, formatBox, type Vec3 } from '../scan/axes.ts'
import type { Measurement } from '../scan/measurement.ts'
import { across, type Plane } from '../scan/volume.ts'
import { hovering, measuring } from './measuring.ts'

export type Tool = 'navigate' | 'box' | 'brush' | 'line' | 'click' | 'erase' | 'ruler' | 'angle'
export type Label = 1 | 2

const REACH = { mouse: 8, touch: 18 } // CSS pixels from a box's side within which it is taken hold of
const CLICK = 4 // CSS pixels that a hand may slip in a click
const STEP = 1.5 // CSS pixels between two points of a stroke
const TURN = 9 // CSS pixels that a finger moves from one slice to the next
const SHARPEST = 1e-3 // of the grey range

/** What the tools lead to. Boxes and points in canonical voxels. */
export interface Deeds {
  drawn(box: Box, plane: Plane): void
  adjusted(box: Box): void
  stroke(points: Vec3[], label: 0 | 1 | 2): void
  /** Something was measured, or measured anew. */
  keepMeasurement(measurement: Measurement): void
  /** A place in a pane is under the pointer; null: none is. */
  pointed(voxel: Vec3 | null): void
  /** A view is to be as large as it goes, or as it was. */
  enlarged(plane: Plane): void
  /** Why a stroke cannot begin in a slice of this plane, or null. */
  refusal(plane: Plane): string | null
}

export type Gesture = { move(x: number, y: number): void; end(cancelled: boolean): void }

export class Tools {
  tool: Tool = 'navigate'
  label: Label = 1
  radius = 2
  private gesture: Gesture | null = null
  private readonly pointers = new Map<number, [number, number]>()
  private pinch = 0

  constructor(
    private readonly stage: Stage,
    private readonly deeds: Deeds,
    private readonly say: (sentence: string) => void,
  ) {
    for (const pane of stage.panes) this.listen(pane)
  }

  /** What a stroke would paint: 1 foreground, 2 background, 0 nothing where there was something. */
  get painted(): 0 | 1 | 2 {
    return this.tool === 'erase' ? 0 : this.label
  }

  /** Give up what is being drawn; whether there was anything. */
  abandon(): boolean {
    const { gesture } = this
    const { scene } = this.stage
    this.gesture = null
    gesture?.end(true)
    const open = scene.measurement !== null
    scene.measurement = null
    if (open) this.stage.draw()
    return gesture !== null || open
  }

  private listen(pane: Pane): void {
    const { canvas } = pane
    canvas.addEventListener('pointerdown', (event) => this.down(pane, event))
    canvas.addEventListener('pointermove', (event) => this.move(pane, event))
    canvas.addEventListener('pointerup', (event) => this.up(event, false))
    canvas.addEventListener('pointercancel', (event) => this.up(event, true))
    canvas.addEventListener('pointerleave', () => {
      this.hover(null)
      this.deeds.pointed(null)
    })
    canvas.addEventListener('dblclick', () => this.tool === 'navigate' && this.deeds.enlarged(pane.plane))
    canvas.addEventListener('contextmenu', (event) => event.preventDefault())
    canvas.addEventListener('wheel', (event) => this.wheel(pane, event), { passive: false })
  }

  private down(pane: Pane, event: PointerEvent): void {
    const place = placeOf(event)
    this.pointers.set(event.pointerId, place)
    pane.canvas.setPointerCapture(event.pointerId)
    pane.canvas.focus({ preventScroll: true })
    event.preventDefault()
    if (event.pointerType === 'touch' && this.pointers.size === 2) {
      this.abandon() // two fingers zoom and pan
      this.pinch = this.spread().distance
      return
    }
    if (this.pointers.size > 1) return
    this.gesture = this.begun(pane, event, place)
  }

  private begun(pane: Pane, event: PointerEvent, place: [number, number]): Gesture | null {
    if (event.button === 2) return this.windowing(place)
    if (event.button === 1 || (event.button === 0 && event.ctrlKey)) return this.panning(pane, place)
    if (event.button !== 0) return null
    if (this.tool === 'navigate' || this.tool === 'box') {
      const grip = this.grip(pane, place, event.pointerType === 'mouse' ? REACH.mouse : REACH.touch)
      if (grip) return this.pulling(pane, grip)
      if (this.tool === 'box') return this.boxing(pane, place)
      return event.pointerType === 'touch' ? this.turning(pane, place) : this.pointing(pane, place)
    }
    if (this.tool === 'ruler' || this.tool === 'angle') {
      return measuring(this.stage, pane, place, this.tool === 'angle', (measurement) =>
        this.deeds.keepMeasurement(measurement),
      )
    }
    return this.painting(pane, place, event.shiftKey)
  }

  private move(pane: Pane, event: PointerEvent): void {
    const place = placeOf(event)
    this.deeds.pointed(pane.toVoxel(...place))
    if (!this.pointers.has(event.pointerId)) {
      const boxes = this.tool === 'navigate' || this.tool === 'box'
      const measurements = this.tool === 'ruler' || this.tool === 'angle'
      const grip = boxes ? this.grip(pane, place, REACH.mouse) : null
      pane.canvas.style.cursor = grip ? cursorOf(grip, pane.plane) : this.tool === 'navigate' ? 'default' : 'crosshair'
      const [x, y] = place
      if (measurements) hovering(this.stage, pane, x, y)
      this.hover(boxes || measurements ? null : { plane: pane.plane, x, y, label: this.painted, radius: this.radius })
      return
    }
    if (this.pinch && this.pointers.size === 2) {
      const before = this.spread()
      this.pointers.set(event.pointerId, place)
      const after = this.spread()
      this.stage.pan(pane, after.x - before.x, after.y - before.y)
      if (before.distance > 0) this.stage.zoomAt(pane, after.x, after.y, after.distance / before.distance)
      return
    }
    this.pointers.set(event.pointerId, place)
    // All the places that the pen passed since the last frame, not the last one only.
    const passed = event.getCoalescedEvents?.() ?? []
    for (const one of passed.length ? passed : [event]) this.gesture?.move(...placeOf(one))
  }

  /** The box's sides there; none where a second rectangle is to be drawn, which begins on them more often than not. */
  private grip(pane: Pane, place: [number, number], reach: number): Grip | null {
    const drawn = this.stage.scene.box?.drawn ?? null
    const second = this.tool === 'box' && drawn !== null && drawn !== pane.plane
    return second ? null : pane.grip(...place, reach)
  }

  private hover(brush: Stage['scene']['brush']): void {
    if (!brush && !this.stage.scene.brush) return
    this.stage.scene.brush = brush
    this.stage.draw()
  }

  private up(event: PointerEvent, cancelled: boolean): void {
    this.pointers.delete(event.pointerId)
    if (this.pointers.size < 2) this.pinch = 0
    const { gesture } = this
    if (!gesture || this.pointers.size) return
    this.gesture = null
    gesture.end(cancelled)
  }

  private wheel(pane: Pane, event: WheelEvent): void {
    event.preventDefault()
    if (event.ctrlKey || event.metaKey || this.stage.scene.planar) {
      this.stage.zoomAt(pane, event.offsetX, event.offsetY, Math.exp(-event.deltaY * 0.002))
    } else {
      this.stage.scroll(pane.plane, event.deltaY > 0 ? -1 : 1)
    }
  }

  private spread(): { x: number; y: number; distance: number } {
    const [a, b] = [...this.pointers.values()]
    if (!a || !b) return { x: 0, y: 0, distance: 0 }
    return { x: (a[0] + b[0]) / 2, y: (a[1] + b[1]) / 2, distance: Math.hypot(a[0] - b[0], a[1] - b[1]) }
  }

  // ---- gestures

  private pointing(pane: Pane, place: [number, number]): Gesture {
    const go = (x: number, y: number) => this.stage.moveTo(pane.toVoxel(x, y))
    go(...place)
    return { move: go, end: () => {} }
  }

  /** A finger that moves up or down turns slices over; one that does not points. */
  private turning(pane: Pane, place: [number, number]): Gesture {
    const first = pane.index
    let turned = false
    return {
      move: (_, y) => {
        const steps = Math.trunc((place[1] - y) / TURN)
        turned ||= steps !== 0 || Math.abs(place[1] - y) > CLICK
        if (turned && !this.stage.scene.planar) this.stage.turn(pane.plane, first + steps)
      },
      end: (cancelled) => {
        if (!cancelled && !turned) this.stage.moveTo(pane.toVoxel(...place))
      },
    }
  }

  private panning(pane: Pane, place: [number, number]): Gesture {
    let last = place
    return {
      move: (x, y) => {
        this.stage.pan(pane, x - last[0], y - last[1])
        last = [x, y]
      },
      end: () => {},
    }
  }

  /** Down is brighter, right is a wider window: as on a workstation. */
  private windowing(place: [number, number]): Gesture {
    const { window: from, volume } = this.stage.scene
    const whole = Math.max(volume.auto.high - volume.auto.low, SHARPEST * (volume.range.high - volume.range.low))
    return {
      move: (x, y) => {
        const centre = (from.low + from.high) / 2 + ((place[1] - y) / 300) * whole
        const width = (from.high - from.low) * Math.exp((x - place[0]) / 200)
        this.stage.setWindow({ ...from, low: centre - width / 2, high: centre + width / 2 })
      },
      end: (cancelled) => cancelled && this.stage.setWindow(from),
    }
  }

  private boxing(pane: Pane, place: [number, number]): Gesture {
    const { scene } = this.stage
    const before = scene.box
    const from = pane.toVoxel(...place)
    let far = 0
    let box: Box | null = null
    return {
      move: (x, y) => {
        far = Math.max(far, Math.hypot(x - place[0], y - place[1]))
        if (far <= CLICK) return
        box = this.spanned(pane, from, pane.toVoxel(x, y))
        scene.box = { box, drawn: pane.plane }
        this.stage.draw()
      },
      end: (cancelled) => {
        scene.box = before
        if (!cancelled && box) this.deeds.drawn(box, pane.plane)
        else if (!cancelled) this.stage.moveTo(from)
        this.stage.draw()
      },
    }
  }

  /** The rectangle between two places, one slice thick: whole voxels, inside the scan. */
  private spanned(pane: Pane, from: Vec3, to: Vec3): Box {
    const start: Vec3 = [...this.stage.scene.cursor]
    const stop: Vec3 = [start[0] + 1, start[1] + 1, start[2] + 1]
    for (const k of across(pane.plane)) {
      const last = this.stage.scene.volume.shape[k] - 1
      const clamp = (value: number) => Math.max(0, Math.min(last, Math.round(value)))
      start[k] = Math.min(clamp(from[k]), clamp(to[k]))
      stop[k] = Math.max(clamp(from[k]), clamp(to[k])) + 1
    }
    return { start, stop }
  }

  private pulling(pane: Pane, grip: Grip): Gesture | null {
    const { scene } = this.stage
    const before = scene.box
    if (!before) return null
    const box: Box = { start: [...before.box.start], stop: [...before.box.stop] }
    return {
      move: (x, y) => {
        const voxel = pane.toVoxel(x, y)
        for (const { axis, side } of grip) {
          const size = scene.volume.shape[axis]
          if (side === 'start') box.start[axis] = Math.max(0, Math.min(box.stop[axis] - 2, Math.round(voxel[axis])))
          else box.stop[axis] = Math.min(size, Math.max(box.start[axis] + 2, Math.round(voxel[axis]) + 1))
        }
        scene.box = { box, drawn: pane.plane }
        this.stage.draw()
      },
      end: (cancelled) => {
        scene.box = before
        const moved = formatBox(box) !== formatBox(before.box) // a click on a side is no wish to begin anew
        if (!cancelled && moved) this.deeds.adjusted(box)
        this.stage.draw()
      },
    }
  }

  private painting(pane: Pane, place: [number, number], other: boolean): Gesture | null {
    const { scene } = this.stage
    const reason = this.deeds.refusal(pane.plane)
    if (reason) {
      this.say(reason)
      return null
    }
    const label = other && this.painted ? ((3 - this.label) as Label) : this.painted
    const points: Vec3[] = [pane.toVoxel(...place)]
    let last = place
    scene.stroke = { points, label, radius: this.radius }
    this.stage.draw()
    return {
      move: (x, y) => {
        if (this.tool === 'click') return
        if (this.tool === 'line') points.length = 1
        else if (Math.hypot(x - last[0], y - last[1]) < STEP) return
        last = [x, y]
        points.push(pane.toVoxel(x, y))
        this.stage.draw()
      },
      end: (cancelled) => {
        scene.stroke = null
        if (!cancelled) this.deeds.stroke(points, label)
        this.stage.draw()
      },
    }
  }
}

/** What a stroke in the wrong slice is told. */
export function elsewhere(plane: Plane, index: number): string {
  return `This object lies in one slice only, ${PLANE_NAMES[plane].toLowerCase()} ${index + 1}: go there, or carry it to the next slice.`
}

function placeOf(event: PointerEvent): [number, number] {
  return [event.offsetX, event.offsetY]
}

function cursorOf(grip: Grip, plane: Plane): string {
  const [u] = across(plane)
  if (grip.length === 1) return grip[0]?.axis === u ? 'ew-resize' : 'ns-resize'
  return grip[0]?.side === grip[1]?.side ? 'nwse-resize' : 'nesw-resize'
}
