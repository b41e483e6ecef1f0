// What was measured in a scan: kept by this browser, for each session.

import type { Stage } from '../canvas/stage.ts'
import type { Read } from '../panels/gauges.ts'
import { type Gauge, told } from '../scan/gauge.ts'
import type { Seen } from './prefs.ts'

export class Gauges {
  /** `changed`: is called when there are others. */
  constructor(
    private readonly stage: Stage,
    private readonly seen: Seen,
    private readonly changed: () => void,
  ) {
    stage.scene.gauges = seen.gauges
  }

  get read(): Read[] {
    const { volume, calibrated, planar, numbered } = this.stage.scene
    return this.seen.gauges.map((gauge) => ({
      gauge,
      said: told(gauge, volume.spacing, calibrated, planar),
      slice: planar ? null : numbered(gauge.plane, gauge.index),
    }))
  }

  keep(gauge: Gauge): void {
    if (!this.seen.gauges.includes(gauge)) this.seen.gauges.push(gauge)
    this.changed()
  }

  remove(gauge = this.seen.gauges.at(-1)): void {
    const place = gauge ? this.seen.gauges.indexOf(gauge) : -1
    if (place >= 0) this.seen.gauges.splice(place, 1)
    this.changed()
  }

  clear(): void {
    this.seen.gauges.length = 0
    this.changed()
  }

  /** Its slice, with it in the middle of the crosshair. */
  goTo({ points }: Gauge): void {
    if (points[0]) this.stage.moveTo(points[1] ?? points[0])
  }
}
