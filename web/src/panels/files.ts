// Files that go to the browser's downloads.

import { h } from '../elements/dom.ts'

/** Hand a file to the browser's downloads. */
export function save(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob)
  const link = h('a', { href: url, download: name, hidden: true })
  document.body.append(link)
  link.click()
  link.remove()
  setTimeout(() => URL.revokeObjectURL(url), 60_000) // some browsers ask for it only after a while
}

/** What may be the beginning of a file's name on every system, from a title. */
export function stemOf(title: string): string {
  const stem = title
    .replace(/\.(nii\.gz|nii|nrrd|mha|dcm|zip|png|jpe?g|bmp|tiff?)$/i, '')
    .replace(/[\\/:*?"<>|\p{Cc}]+/gu, '-')
  return stem.slice(0, 80).replace(/^[\s.-]+|[\s.-]+$/g, '') || 'bifseg'
}
