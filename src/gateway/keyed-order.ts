import { createInOrder, type InOrder } from "./in-order.ts";

/** Runs operations of one key one after the other, in the order in which they were asked for; those of others beside them. */
export interface KeyedOrder {
  run<T>(key: string, operation: () => Promise<T>): Promise<T>;
}

export const createKeyedOrder = (): KeyedOrder => {
  const orders = new Map<string, InOrder>();
  return {
    run(key, operation) {
      const order =
        orders.get(key) ??
        createInOrder(() => {
          if (order.pending === 0) orders.delete(key);
        });
      orders.set(key, order);
      return order.run(operation);
    },
  };
};
