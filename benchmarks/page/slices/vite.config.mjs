import { fileURLToPath } from 'node:url'

const web = (path) => fileURLToPath(new URL(`../../../web/${path}`, import.meta.url))

export default {
  root: fileURLToPath(new URL('.', import.meta.url)),
  base: './',
  resolve: { alias: { '@niivue/niivue': web('node_modules/@niivue/niivue'), zarrita: fileURLToPath(new URL('nothing.ts', import.meta.url)) } },
  build: { emptyOutDir: true, target: 'es2022', chunkSizeWarningLimit: 2000 },
}
