import { useState } from "react";
import { useAgents, useConfig, useRawEvents, useRequestDetails, useTrace } from "~/hooks";
import { Button } from "~/ui/Button";
import { CopyButton } from "~/ui/CopyButton";
import { Dialog } from "~/ui/Dialog";
import { Icon } from "~/ui/icons";
import { Skeleton } from "~/ui/Skeleton";
import { CodeBlock } from "../code/CodeBlock";
import { safeAddress } from "../markdown/address";
import styles from "./Details.module.css";
import { factsOf, traceAddress } from "./facts";
import { Spans } from "./Spans";

interface DetailsProps {
  requestId: string;
  onClose: () => void;
}

/** Everything about one answer, for who wants to know. */
export default function Details({ requestId, onClose }: DetailsProps) {
  const { details, loading } = useRequestDetails(requestId);
  const { agents } = useAgents();
  const agent = agents.find((one) => one.id === details?.agent_id)?.name ?? details?.agent_id ?? "";
  return (
    <Dialog side open title="Details" onClose={onClose}>
      {details ? (
        <dl className={styles.facts}>
          {factsOf(details, agent).map(({ name, value }) => (
            <div key={name} className={styles.fact}>
              <dt>{name}</dt>
              <dd>{value}</dd>
            </div>
          ))}
          <Id name="Request" id={details.id} />
          {details.trace_id && <Trace id={details.trace_id} />}
        </dl>
      ) : (
        <p className={styles.note}>{loading ? "" : "The details cannot be read now."}</p>
      )}
      {!details && loading && <Skeleton label="Loading details" />}
      {details?.trace_id && <Steps requestId={requestId} />}
      {details && <RawEvents requestId={requestId} pruned={details.events_pruned} />}
    </Dialog>
  );
}

function Id({ name, id }: { name: string; id: string }) {
  return (
    <div className={styles.fact}>
      <dt>{name}</dt>
      <dd className={styles.id}>
        <code>{id}</code>
        <CopyButton label={`Copy ${name.toLowerCase()} id`} text={() => id} />
      </dd>
    </div>
  );
}

function Trace({ id }: { id: string }) {
  const address = safeAddress(traceAddress(useConfig()?.trace_url ?? "", id));
  return (
    <>
      <Id name="Trace" id={id} />
      {address && (
        <a className={styles.link} href={address} target="_blank" rel="noopener noreferrer">
          Open the trace <Icon name="external" size={14} />
        </a>
      )}
    </>
  );
}

/** What the agent recorded, where the server can read it. */
function Steps({ requestId }: { requestId: string }) {
  const [wanted, setWanted] = useState(false);
  const config = useConfig();
  const { trace, problem } = useTrace(wanted ? requestId : null);
  if (!config?.traces) return null;
  if (!wanted) return <Button onClick={() => setWanted(true)}>Show the agent's steps</Button>;
  if (trace) return <Spans trace={trace} />;
  return problem ? <p className={styles.note}>{problem}</p> : <Skeleton label="Loading steps" />;
}

function RawEvents({ requestId, pruned }: { requestId: string; pruned: boolean }) {
  const [wanted, setWanted] = useState(false);
  const { events, problem } = useRawEvents(wanted ? requestId : null);
  const shown = events?.map((event) => JSON.stringify(event)).join("\n");
  if (!wanted) return <Button onClick={() => setWanted(true)}>Show raw events</Button>;
  return (
    <section aria-label="Raw events">
      {pruned && <p className={styles.note}>The log is gone; this is made from the answer.</p>}
      {problem && <p className={styles.note}>{problem}</p>}
      {shown === undefined && !problem && <Skeleton label="Loading events" />}
      {shown !== undefined && <CodeBlock code={shown} language="json" />}
    </section>
  );
}
