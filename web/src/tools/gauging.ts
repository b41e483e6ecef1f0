// Hands that measure: a ruler is drawn from end to end, an angle along one arm and then to the end of the other.

import { gripped } from '../canvas/gauges.ts'
import type { Pane } from '../canvas/pane.ts'
import type { Stage } from '../canvas/stage.ts'
import type { Vec3 } from '../scan/axes.ts'
import type { Gauge } from '../scan/gauge.ts'
import type { Gesture } from './gestures.ts'

const SHORTEST = 4 // CSS pixels, below which it was a click
const REACH = 9 // CSS pixels from a gauge's point within which it is taken hold of

/** `kept`: is called with a gauge that was drawn, or moved. */
export function gauging(
  stage: Stage,
  pane: Pane,
  place: [number, number],
  angle: boolean,
  kept: (gauge: Gauge) => void,
): Gesture {
  const { scene } = stage
  const open = scene.gauge
  const here = open?.plane === pane.plane && open.index === pane.index
  const held = open && here ? null : gripped(pane, place, REACH)
  if (held) return moving(stage, pane, held.gauge, held.k, kept)
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
        scene.gauge = null
        if (!cancelled) kept(open)
        stage.draw()
      },
    }
  }
  const gauge: Gauge = { plane: pane.plane, index: pane.index, points: [at(...place)] }
  scene.gauge = gauge
  let far = 0
  return {
    move: (x, y) => {
      far = Math.max(far, Math.hypot(x - place[0], y - place[1]))
      gauge.points[1] = at(x, y)
      stage.draw()
    },
    end: (cancelled) => {
      const drawn = !cancelled && far > SHORTEST
      if (!angle || !drawn) scene.gauge = null
      if (drawn && !angle) kept(gauge)
      stage.draw()
    },
  }
}

/** The second arm of an angle follows the pointer until it is clicked. */
export function hovering(stage: Stage, pane: Pane, x: number, y: number): void {
  const open = stage.scene.gauge
  if (!open || open.points.length < 2 || open.plane !== pane.plane || open.index !== pane.index) return
  open.points[2] = pane.toVoxel(x, y)
  stage.draw()
}

function moving(stage: Stage, pane: Pane, gauge: Gauge, k: number, kept: (gauge: Gauge) => void): Gesture {
  const before = gauge.points[k] as Vec3
  return {
    move: (x, y) => {
      gauge.points[k] = pane.toVoxel(x, y)
      stage.draw()
    },
    end: (cancelled) => {
      if (cancelled) gauge.points[k] = before
      else kept(gauge)
      stage.draw()
    },
  }
}
