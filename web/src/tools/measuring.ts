// Hands that measure: a ruler is drawn from end to end, an angle along one arm and then to the end of the other.

import { gripped } from '../canvas/measurements.ts'
import type { Pane } from '../canvas/pane.ts'
import type { Stage } from '../canvas/stage.ts'
import type { Vec3 } from '../scan/axes.ts'
import type { Measurement } from '../scan/measurement.ts'
import type { Gesture } from './gestures.ts'

const SHORTEST = 4 // CSS pixels, below which it was a click
const REACH = 9 // CSS pixels from a measurement's point within which it is taken hold of

/** `kept`: is called with a measurement that was drawn, or moved. */
export function measuring(
  stage: Stage,
  pane: Pane,
  place: [number, number],
  angle: boolean,
  kept: (measurement: Measurement) => void,
): Gesture {
  const { scene } = stage
  const open = scene.measurement
  const here = open?.plane === pane.plane && open.index === pane.index
  const held = open && here ? null : gripped(pane, place, REACH)
  if (held) return moving(stage, pane, held.measurement, held.k, kept)
  const at = (x: number, y: number): Vec3 => pane.toVoxel(x, y)
  if (open && here && angle) {
    open.points[2] = at(...place)
    stage.draw()
    return {
      move: (x, y) => {
        open.points[2] = at(x, y)
        stage.draw()
      },
      end: (cancelled) => {
        scene.measurement = null
        if (!cancelled) kept(open)
        stage.draw()
      },
    }
  }
  const measurement: Measurement = { plane: pane.plane, index: pane.index, points: [at(...place)] }
  scene.measurement = measurement
  let far = 0
  return {
    move: (x, y) => {
      far = Math.max(far, Math.hypot(x - place[0], y - place[1]))
      measurement.points[1] = at(x, y)
      stage.draw()
    },
    end: (cancelled) => {
      const drawn = !cancelled && far > SHORTEST
      if (!angle || !drawn) scene.measurement = null
      if (drawn && !angle) kept(measurement)
      stage.draw()
    },
  }
}

/** The second arm of an angle follows the pointer until it is clicked. */
export function hovering(stage: Stage, pane: Pane, x: number, y: number): void {
  const open = stage.scene.measurement
  if (!open || open.points.length < 2 || open.plane !== pane.plane || open.index !== pane.index) return
  open.points[2] = pane.toVoxel(x, y)
  stage.draw()
}

function moving(
  stage: Stage,
  pane: Pane,
  measurement: Measurement,
  k: number,
  kept: (measurement: Measurement) => void,
): Gesture {
  const before = measurement.points[k] as Vec3
  return {
    move: (x, y) => {
      measurement.points[k] = pane.toVoxel(x, y)
      stage.draw()
    },
    end: (cancelled) => {
      if (cancelled) measurement.points[k] = before
      else kept(measurement)
      stage.draw()
    },
  }
}
