// What stands in for a library that NiiVue knows and this page never uses; see vite.config.mjs.
export const open = undefined
export const root = undefined
export const get = undefined
export const slice = undefined
export const FetchStore = undefined
