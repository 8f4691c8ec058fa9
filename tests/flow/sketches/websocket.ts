const ws = new WebSocket(`wss://.../requests/${request_id}/stream`);
ws.onmessage = (event) => {
    const data = JSON.parse(event.data);
    if (data.status === 'completed') {
        // Handle completion
    }
};
