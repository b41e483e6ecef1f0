// What may be saved of a session.

import { h } from '../elements/dom.ts'
import type { Api } from '../server/api.ts'
import { sentenceOf } from '../server/errors.ts'
import type { ImageInfo, SessionState } from '../server/types.ts'
import { closable, told } from './dialogs.ts'
import { save, stemOf } from './files.ts'

/**
 * Offer what may be saved of a session as it is on the screen; `figure` draws the page's own picture, `hidden` are
 * objects that are not in it.
 */
export async function showExport(
  api: Api,
  { id, title, number }: SessionState,
  image: ImageInfo,
  hidden: string[],
  figure: () => Promise<Blob>,
): Promise<void> {
  const { status, alert, lines } = told()
  let busy = false
  const saved = async ({ ending, load }: Export) => {
    if (busy) return
    busy = true
    alert.textContent = ''
    const name = `${stemOf(title)}-${ending}`
    status.textContent = `${name} is being made …`
    try {
      save(await load(), name)
      status.textContent = `${name} was saved.`
    } catch (error) {
      status.textContent = ''
      alert.textContent = sentenceOf(error)
    }
    busy = false
  }
  const offered = await exportsOf(api, id, number, image, figure).catch((error) => {
    alert.textContent = sentenceOf(error)
    return []
  })
  const choices = offered.map((choice) =>
    h(
      'li',
      {},
      h(
        'button',
        { type: 'button', class: 'choice', onclick: () => saved(choice) },
        h('strong', {}, choice.name),
        ' ',
        h('span', {}, choice.what),
      ),
    ),
  )
  const also = hidden.length ? [h('p', {}, `Also in the files, though hidden: ${hidden.join(', ')}.`)] : []
  closable('Export', ...also, h('ul', { class: 'choices' }, ...choices), lines)
}

interface Export {
  name: string
  what: string
  ending: string
  load: () => Promise<Blob>
}

async function exportsOf(
  api: Api,
  id: string,
  number: number,
  image: ImageInfo,
  figure: () => Promise<Blob>,
): Promise<Export[]> {
  const { exports } = await api.server()
  const suitable = exports.filter(
    ({ axes, needs_series }) => axes.includes(image.planar ? 2 : 3) && (image.dicom || !needs_series),
  )
  return [
    ...suitable.map(({ format, title, help }) => ({
      name: title,
      what: help,
      ending: `labels.${format}`,
      load: () => api.file(`sessions/${encodeURIComponent(id)}/labels?format=${format}`, number),
    })),
    { name: 'PNG figure', what: 'The view as it is now, as a picture.', ending: 'figure.png', load: figure },
    {
      name: 'Session',
      what: 'The scan, every interaction and every mask in one file, to go on from here or elsewhere.',
      ending: 'session.zip',
      load: () => api.file(`sessions/${encodeURIComponent(id)}/export`),
    },
  ]
}
