// What was measured in a scan: kept by this browser, for each session.

import type { Stage } from '../canvas/stage.ts'
import type { Read } from '../panels/measurements.ts'
import { type Measurement, told } from '../scan/measurement.ts'
import type { Seen } from './prefs.ts'

export class Measurements {
  /** `changed`: is called when there are others. */
  constructor(
    private readonly stage: Stage,
    private readonly seen: Seen,
    private readonly changed: () => void,
  ) {
    stage.scene.measurements = seen.measurements
  }

  get read(): Read[] {
    const { volume, calibrated, planar, numbered } = this.stage.scene
    return this.seen.measurements.map((measurement) => ({
      measurement,
      said: told(measurement, volume.spacing, calibrated, planar),
      slice: planar ? null : numbered(measurement.plane, measurement.index),
    }))
  }

  keep(measurement: Measurement): void {
    if (!this.seen.measurements.includes(measurement)) this.seen.measurements.push(measurement)
    this.changed()
  }

  remove(measurement = this.seen.measurements.at(-1)): void {
    const place = measurement ? this.seen.measurements.indexOf(measurement) : -1
    if (place >= 0) this.seen.measurements.splice(place, 1)
    this.changed()
  }

  clear(): void {
    this.seen.measurements.length = 0
    this.changed()
  }

  /** Its slice, with it in the middle of the crosshair. */
  goTo({ points }: Measurement): void {
    if (points[0]) this.stage.moveTo(points[1] ?? points[0])
  }
}
