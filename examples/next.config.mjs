// Next.js sends the calls of `useChat` on to Perdure, so that the browser knows one address only.
const perdure = process.env.PERDURE_URL ?? "http://127.0.0.1:8000";

export default {
  compress: false, // a stream must pass as it comes
  async rewrites() {
    return [{ source: "/api/chat/:path*", destination: `${perdure}/api/chat/:path*` }];
  },
};
