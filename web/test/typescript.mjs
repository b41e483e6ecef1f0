// Lets Node.js 20, which cannot strip types by itself, run TypeScript: node --import ./test/typescript.mjs FILE.ts

import { readFile } from 'node:fs/promises'
import { register } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'
import { transformWithOxc } from 'vite'

if (isMainThread) register(import.meta.url) // the hooks below run in a thread of their own, which loads this file again

/** The source of a .ts module without its types. */
export async function load(url, context, next) {
  if (!url.endsWith('.ts')) return next(url, context)
  const path = fileURLToPath(url)
  const { code } = await transformWithOxc(await readFile(path, 'utf8'), path, { sourcemap: false })
  return { format: 'module', source: code, shortCircuit: true }
}
