/**
 * Gives the caller's own object for one that is the same, else the object itself: whoever reads thousands that
 * are as they should be is given his own again, and of what was read nothing is kept.
 */
export type Known<T> = (object: T) => T;

/** Of who knows none. */
export const itself = <T>(object: T): T => object;
