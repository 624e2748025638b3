import { EventStreamError, show } from "./errors.js";

/**
 * `object[name]`, or `undefined` if only `Object.prototype` has that property. Another package has put it there
 * (prototype pollution); the caller has not passed it.
 */
export function property(object: object, name: PropertyKey): unknown {
  return name in Object.prototype && !hasProperty(object, name)
    ? undefined
    : (object as Record<PropertyKey, unknown>)[name];
}

/** Whether `object` has `name` itself or inherits it from anything but `Object.prototype`. */
export function hasProperty(object: object, name: PropertyKey): boolean {
  for (
    let owner: object | null = object;
    owner !== null && owner !== Object.prototype;
    owner = Object.getPrototypeOf(owner) as object | null
  ) {
    if (Object.hasOwn(owner, name)) return true;
  }
  return false;
}

/** One option: its default, and how a value becomes a setting. */
export interface Option<Setting> {
  readonly default: Setting;
  /** @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value */
  read(value: unknown, name: string): Setting;
}

/** An option whose setting is the value itself. `must` ends the sentence "it must be …". */
export function option<Setting>(
  fallback: Setting,
  isValid: (value: unknown) => boolean,
  must: string,
): Option<Setting> {
  return {
    default: fallback,
    read(value, name) {
      if (!isValid(value)) throw invalidOption(name, value, must);
      return value as Setting;
    },
  };
}

/**
 * Checks options against a table and fills in the defaults. `undefined` counts as left out.
 *
 * @param owner the function that takes the options, as the user writes it: `"eventSource"`
 * @param prefix the path of nested options, such as `"history."`
 * @throws {EventStreamError} `ERR_INVALID_OPTION`, naming the option and its value
 */
export function readOptions<Settings extends object>(
  owner: string,
  options: unknown,
  table: { readonly [Name in keyof Settings]: Option<Settings[Name]> },
  prefix = "",
): Settings {
  if (!isPlainObject(options)) {
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `The options of ${owner} are ${show(options)}; they must be a plain object with any of ${Object.keys(table).join(", ")}.`,
      { field: "options" },
    );
  }
  for (const [name, value] of Object.entries(options)) {
    if (Object.hasOwn(table, name)) continue;
    throw new EventStreamError(
      "ERR_INVALID_OPTION",
      `${owner} has no option ${show(name)} (its value is ${show(value)}); it has ${Object.keys(table).join(", ")}.`,
      { field: prefix + name },
    );
  }
  const settings: Partial<Settings> = {};
  for (const name of Object.keys(table) as (keyof Settings & string)[]) {
    const value = Object.hasOwn(options, name) ? (options as Record<string, unknown>)[name] : undefined;
    settings[name] = value === undefined ? table[name].default : table[name].read(value, prefix + name);
  }
  return settings as Settings;
}

/** The error for an option with an invalid value; `must` ends the sentence "it must be …". */
export function invalidOption(name: string, value: unknown, must: string, cause?: unknown): EventStreamError {
  return new EventStreamError("ERR_INVALID_OPTION", `The option ${name} is ${show(value)}; it must be ${must}.`, {
    field: name,
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Whether `value` can have no properties but its own. Inherited options would be ignored silently. */
export function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

export function isFunction(value: unknown): boolean {
  return typeof value === "function";
}
