// Tasks: objects of one kind, what was learnt from those that were finished, and which one new objects belong to.

import type { Api } from '../server/api.ts'
import { sentenceOf } from '../server/errors.ts'
import type { LearntInfo, ObjectInfo, TaskInfo, TaskState } from '../server/types.ts'
import type { Model } from './model.ts'
import type { Prefs } from './prefs.ts'

const AGAIN = 2000 // milliseconds until it is asked again how far the learning is
export const PATIENTS = 3 // from which on the server can tell whether it learnt anything

export class Tasks {
  /** All of the user's, once they are known. */
  list: TaskInfo[] = []
  /** The one that new objects belong to, with its objects. */
  chosen: TaskState | null = null
  /** Whether an object is on its way into the task. */
  adding = false
  private timer = 0

  constructor(
    private readonly api: Api,
    private readonly model: Model,
    private readonly prefs: Prefs,
    private readonly changed: () => void,
    private readonly say: (sentence: string) => void,
  ) {}

  close(): void {
    window.clearTimeout(this.timer)
  }

  async load(): Promise<void> {
    await this.attempt(async () => {
      this.list = await this.api.tasks()
      const { task } = this.prefs.look
      if (task && this.list.some(({ name }) => name === task)) this.took(await this.api.task(task))
    })
  }

  /** New objects belong to a task from here on; to none where it is null. */
  async choose(name: string | null): Promise<void> {
    await this.attempt(async () => {
      if (name) this.took(await this.api.task(name))
      else this.forget()
    })
  }

  async begin(name: string): Promise<void> {
    await this.attempt(async () => {
      const known = this.list.some((task) => task.name === name)
      this.took(known ? await this.api.task(name) : await this.api.beginTask(name))
    })
  }

  /** Whether an object, as it stands, is one that the task learns from. */
  holds({ name, version }: ObjectInfo): boolean {
    const { id } = this.model.state
    return (
      this.chosen?.finished.some((one) => one.session === id && one.object === name && one.version === version) ?? false
    )
  }

  /** The object worked on is right everywhere: the task learns from it. */
  async finish(): Promise<void> {
    const { model, chosen } = this
    await model.settled
    const { current } = model
    if (!current || !chosen || this.adding) return
    this.adding = true
    this.changed()
    await this.attempt(async () => {
      this.took(await this.api.finish(chosen.name, model.state.id, current.name, current.version))
      this.say(`${current.name} was added to ${chosen.name}; it learns in the background.`)
    })
    this.adding = false
    this.changed()
  }

  async remove(digest: string): Promise<void> {
    await this.change((name) => this.api.unfinish(name, digest))
  }

  /** New objects begin with the network as it ships, or again with what was learnt. */
  async use(learnt: boolean): Promise<void> {
    await this.change((name) => this.api.useLearnt(name, learnt))
  }

  async delete(): Promise<void> {
    const { chosen } = this
    if (!chosen) return
    await this.attempt(async () => {
      await this.api.deleteTask(chosen.name)
      this.list = this.list.filter(({ name }) => name !== chosen.name)
      this.forget()
    })
  }

  /** What new objects in planes, or in volumes, begin with; null where that is the network as it ships. */
  inUse(dimension: 2 | 3): LearntInfo | null {
    return this.chosen?.in_use.find((one) => one.dimension === dimension && one.used) ?? null
  }

  private async change(ask: (name: string) => Promise<TaskState>): Promise<void> {
    const { chosen } = this
    if (chosen) await this.attempt(async () => this.took(await ask(chosen.name)))
  }

  private took(task: TaskState): void {
    this.chosen = task
    this.list = [...this.list.filter(({ name }) => name !== task.name), task].sort((a, b) =>
      a.name.localeCompare(b.name),
    )
    this.keep(task.name)
    window.clearTimeout(this.timer)
    if (task.learning) this.timer = window.setTimeout(() => void this.choose(task.name), AGAIN)
  }

  private forget(): void {
    window.clearTimeout(this.timer)
    this.chosen = null
    this.keep(null)
  }

  private keep(name: string | null): void {
    this.model.task = name
    this.prefs.look.task = name
    this.prefs.save()
  }

  private async attempt(work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.say(sentenceOf(error))
    }
    this.changed()
  }
}
