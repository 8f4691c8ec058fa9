async function sendMessageWithBackgroundProcessing(message: string) {
    // Start request
    const { request_id } = await fetch('/api/invoke_endpoint', {
        method: 'POST',
        body: JSON.stringify({ messages, agent_id })
    }).then(r => r.json());

    // Poll for completion
    const pollInterval = setInterval(async () => {
        const status = await fetch(`/api/requests/${request_id}/status`)
            .then(r => r.json());

        if (status.status === 'completed') {
            clearInterval(pollInterval);
            setMessages(prev => [...prev, {
                role: 'assistant',
                content: status.final_response,
                traceId: status.trace_id
            }]);
        } else if (status.status === 'streaming') {
            // Optionally show partial response
            updatePartialResponse(status.partial_content);
        }
    }, 1000); // Poll every second
}
