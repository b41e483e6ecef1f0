// What the hand does with tasks, with the questions that belong to it.

import type { Api } from '../server/api.ts'
import type { Model } from '../session/model.ts'
import type { Tasks } from '../session/tasks.ts'
import { askText, confirmIn } from './dialogs.ts'
import { showTask, type Teaching } from './tasks.ts'

export function teaching(tasks: Tasks, model: Model, api: Api, unchanged: () => void): Teaching {
  const beginTask = async () => {
    const { current } = model
    const name = await askText('A task for objects of one kind', 'Name', current ? model.rootOf(current) : '')
    if (name) await tasks.begin(name)
    else unchanged()
  }
  return {
    chooseTask: (name) => void tasks.choose(name),
    beginTask: () => void beginTask(),
    /** Learn from the object worked on; without a task, begin one. */
    async finish() {
      if (model.current && !tasks.chosen) await beginTask()
      await tasks.finish()
    },
    lookAtTask() {
      showTask(
        tasks,
        (task, digest) => api.pictureOf(task, digest),
        (task, version) => api.shapeOf(task, version),
        async () => {
          const sentence = 'Its objects and all that it learnt go, for good. Sessions keep their masks.'
          if (await confirmIn(`Delete ${tasks.chosen?.name}`, sentence, 'Delete')) await tasks.delete()
        },
      )
    },
  }
}
