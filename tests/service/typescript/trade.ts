// What a program in TypeScript does with the generated types: place, repeat, read, cancel, and read a refusal.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

declare const process: { env: Record<string, string | undefined> };

type Problem = components["schemas"]["Problem"];

const client = createClient<paths>({
  baseUrl: process.env.BASE,
  headers: { Authorization: `Bearer ${process.env.TOKEN}` },
});
const params = { header: { "Idempotency-Key": process.env.KEY ?? "" } };
const body: components["schemas"]["OrderWish"] = {
  broker: "mock",
  action: "buy",
  symbol: "AAPL",
  qty: 1,
  order_type: "limit",
  limit_price: 259.5,
};

const placed = await client.POST("/broker-order", { params, body });
if (placed.data === undefined) throw new Error(JSON.stringify(placed.error));
const again = await client.POST("/broker-order", { params, body });
const other = await client.POST("/broker-order", { params, body: { ...body, qty: 2 } });
const refusal: Problem | undefined = other.error;

const order_id = placed.data.data.id ?? "";
const read = await client.GET("/broker-order/{order_id}", { params: { path: { order_id } } });
const cancelled = await client.DELETE("/broker-order/{order_id}", { params: { path: { order_id } } });
const listed = await client.GET("/broker-order", { params: { query: { status: "cancelled", limit: 200 } } });

// @ts-expect-error: there is no such action
const wrong: components["schemas"]["OrderWish"] = { ...body, action: "long" };
const strange = await client.POST("/broker-order", { params, body: wrong });

console.log(
  JSON.stringify({
    placed: placed.response.status,
    again: [again.response.status, again.data?.cached, again.data?.data.id === order_id],
    refused: [refusal?.status, refusal?.error.code, refusal?.error.remedy.length, refusal?.error.trace_id.length],
    price: read.data?.data.price,
    status: read.data?.data.status,
    cancelled: cancelled.response.status,
    listed: listed.data?.data.some((each) => each.id === order_id),
    strange: strange.error?.error.code,
  }),
);
