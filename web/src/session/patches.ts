// The arrays of objects as they stand: fetched once, and forgotten when there are too many.

import type { Axes } from '../scan/axes.ts'
import { Patch } from '../scan/patch.ts'
import type { Api, What } from '../server/api.ts'
import { ApiError } from '../server/errors.ts'
import type { ObjectInfo } from '../server/types.ts'

const KEPT = 96

export class Patches {
  private readonly patches = new Map<string, Patch>()

  constructor(
    private readonly api: Api,
    private readonly axes: Axes,
    private readonly session: string,
  ) {}

  /** An object's array, where it has arrived. */
  get(object: ObjectInfo, what: What): Patch | null {
    return this.patches.get(`${what} ${object.version}`) ?? null
  }

  /** Fetch arrays that are not here; `objects`: how many there are. ApiError 412 where one is no longer as it was. */
  async load(wanted: [ObjectInfo, What][], objects: number): Promise<void> {
    await Promise.all(wanted.map(([object, what]) => this.one(object, what)))
    const surplus = this.patches.size - KEPT - 2 * objects
    for (const old of [...this.patches.keys()].slice(0, Math.max(0, surplus))) this.patches.delete(old)
  }

  private async one(object: ObjectInfo, what: What): Promise<void> {
    const key = `${what} ${object.version}`
    const known = this.patches.get(key)
    this.patches.delete(key)
    try {
      const result = known ?? (await this.api.result(this.session, what, object.name, object.version))
      this.patches.set(key, result instanceof Patch ? result : new Patch(this.axes, result.box, result.data))
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error // nothing was learnt yet
    }
  }
}
